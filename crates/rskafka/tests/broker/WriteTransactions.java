import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes transactions, and records outside of any, to the only partition of a topic: `WriteTransactions.java HOST:PORT TOPIC`.
 *
 * It prints `record TRANSACTION RECORD` for each record, with the record as `line.rs` of the tests reads it and `-` for no
 * transaction, and `end TRANSACTION committed|aborted`. After `ended` it is told by a line what is to become of one more
 * transaction. It prints `open` while that is undecided, and goes on at the next line.
 */
public class WriteTransactions {
    static String brokers, topic;
    static int transactions = 0, records = 0;

    static class Writer {
        final KafkaProducer<byte[], byte[]> producer;
        final List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        final List<Future<RecordMetadata>> written = new ArrayList<>();
        String transaction = "-";

        Writer(String name, String codec) {
            var settings = new HashMap<String, Object>();
            settings.put("bootstrap.servers", brokers);
            settings.put("compression.type", codec);
            // Only a flush sends what was collected, so that it is one batch.
            settings.put("linger.ms", 60_000);
            if (name != null) settings.put("transactional.id", topic + "-" + name);
            producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
            if (name != null) producer.initTransactions();
        }

        void begin() {
            transaction = "t" + transactions++;
            producer.beginTransaction();
        }

        /** Collects a record: each has another combination of null, empty and other keys, values and headers. */
        void collect(int size) {
            int number = records++;
            byte[] text = ("record " + number + " of " + transaction + " ").getBytes(StandardCharsets.UTF_8);
            byte[] value = new byte[Math.max(size, text.length)];
            for (int at = 0; at < value.length; at++) value[at] = text[at % text.length];
            byte[] key = number % 3 == 0 ? null : number % 3 == 1 ? new byte[0] : new byte[] {0, (byte) 0xff, (byte) number};
            if (number % 7 == 5) value = null;
            if (number % 7 == 6) value = new byte[0];
            var record = new ProducerRecord<>(topic, 0, System.currentTimeMillis() - number * 1000, key, value);
            if (number % 4 == 1) record.headers().add("twice", "1".getBytes()).add("twice", "2".getBytes());
            if (number % 4 == 2) record.headers().add("null", null).add("empty", new byte[0]);
            sent.add(record);
            written.add(producer.send(record));
        }

        /** Writes what was collected. */
        void flush() throws Exception {
            producer.flush();
            for (int at = 0; at < sent.size(); at++) {
                var record = sent.get(at);
                var line = new StringBuilder("record " + transaction + " " + written.get(at).get().offset());
                line.append(" " + record.timestamp() + " " + digits(record.key()) + " " + digits(record.value()));
                for (var header : record.headers()) {
                    line.append(" " + digits(header.key().getBytes(StandardCharsets.UTF_8)) + "=" + digits(header.value()));
                }
                System.out.println(line);
            }
            sent.clear();
            written.clear();
        }

        void write(int count) throws Exception {
            for (int at = 0; at < count; at++) collect(0);
            flush();
        }

        void end(boolean isCommitted) {
            if (isCommitted) producer.commitTransaction();
            else producer.abortTransaction();
            System.out.println("end " + transaction + (isCommitted ? " committed" : " aborted"));
            transaction = "-";
        }
    }

    static String digits(byte[] bytes) {
        if (bytes == null) return "-";
        var digits = new StringBuilder("x");
        for (byte one : bytes) digits.append(String.format("%02x", one));
        return digits.toString();
    }

    public static void main(String[] args) throws Exception {
        brokers = args[0];
        topic = args[1];
        Writer plain = new Writer(null, "none"), a = new Writer("a", "none"), b = new Writer("b", "lz4");
        var writers = List.of(plain, a, b, new Writer("c", "gzip"));

        plain.write(3);
        for (boolean isCommitted : new boolean[] {true, false}) {
            a.begin();
            a.write(3);
            a.write(2);
            a.end(isCommitted);
            plain.write(1);
        }
        // Two producers, each of which begins within the other's transaction.
        for (boolean isCommitted : new boolean[] {true, false}) {
            a.begin();
            a.write(2);
            b.begin();
            b.write(2);
            plain.write(1);
            a.write(1);
            b.write(1);
            a.end(isCommitted);
            b.write(1);
            a.begin();
            a.write(1);
            b.end(!isCommitted);
            a.write(2);
            a.end(isCommitted);
        }
        // One of many batches.
        b.begin();
        for (int batch = 0; batch < 20; batch++) {
            for (int record = 0; record < 5; record++) b.collect(1000);
            b.flush();
        }
        b.end(false);
        plain.write(2);

        // Always the same steps.
        var random = new Random(14);
        for (int step = 0; step < 120; step++) {
            var writer = writers.get(random.nextInt(writers.size()));
            int choice = random.nextInt(10);
            if (writer == plain || choice < 6) {
                if (writer != plain && writer.transaction.equals("-")) writer.begin();
                writer.write(1 + random.nextInt(3));
            } else if (!writer.transaction.equals("-")) {
                writer.end(choice < 8);
            }
        }
        for (var writer : writers) {
            if (!writer.transaction.equals("-")) writer.end(random.nextBoolean());
        }

        System.out.println("ended");
        var told = new Scanner(System.in);
        while (told.hasNextLine()) {
            boolean isCommitted = told.nextLine().equals("committed");
            plain.write(1);
            a.begin();
            a.write(2);
            // What others decide behind it is held up by it.
            b.begin();
            b.write(2);
            b.end(true);
            plain.write(2);
            b.begin();
            b.write(1);
            b.end(false);
            System.out.println("open");
            told.nextLine();
            a.end(isCommitted);
            plain.write(1);
            System.out.println("ended");
        }
    }
}
