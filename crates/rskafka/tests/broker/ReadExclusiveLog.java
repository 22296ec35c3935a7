import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints the entries of an exclusive log that count: `ReadExclusiveLog.java HOST:PORT TOPIC`. */
public class ReadExclusiveLog {
    static long term = 0, writer = 0, next = 0;

    /** Whether the batch with this header counts. */
    static boolean counts(ByteBuffer header) {
        byte format = header.get(), kind = header.get();
        long itsTerm = header.getLong(), itsWriter = header.getLong(), sequence = header.getLong();
        if (format != 1 || kind < 0 || kind > 2) throw new IllegalStateException("unknown format");
        boolean isClaim = kind == 1;
        if (isClaim && itsTerm == term + 1) {
            term = itsTerm;
            writer = itsWriter;
            next = 1;
            return false; // It counts, and has nothing of the user's.
        }
        if (Long.compareUnsigned(itsTerm, term) > 0) throw new IllegalStateException("the log is damaged");
        if (isClaim || itsTerm != term || itsWriter != writer || sequence != next || next == 0) return false;
        next += 1;
        return kind == 0;
    }

    public static void main(String[] args) {
        var partition = new TopicPartition(args[1], 0);
        var settings = Map.<String, Object>of("bootstrap.servers", args[0]);
        var strings = new StringDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, strings, strings)) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 0);
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            boolean isEntry = false;
            while (consumer.position(partition) < end) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    // The consumer does not show batches. Where others append too, read the batches instead.
                    var header = record.headers().lastHeader("rskafka.wal");
                    if (header != null) isEntry = counts(ByteBuffer.wrap(header.value()));
                    if (isEntry) System.out.println(record.offset() + " " + record.value());
                }
            }
        }
    }
}
