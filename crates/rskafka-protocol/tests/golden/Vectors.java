// Prints golden vectors of one API, as `messages.jsonl` has them, made by Kafka's own classes: see CONTRIBUTING.md.
//
//     target/env/kafka/java crates/rskafka-protocol/tests/golden/Vectors.java ElectLeaders

import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.*;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;

public class Vectors {
    static final String[] TEXTS = {"wal", "orders", "naïve café", "тема", "主题-数据", "🦀 kafka 🚀", "broker-3.example.org"};
    // The same vectors each time.
    static final Random random = new Random(0);

    public static void main(String[] args) throws Exception {
        ApiKeys api = Arrays.stream(ApiKeys.values()).filter(key -> key.name.equals(args[0])).findFirst()
            .orElseThrow(() -> new IllegalArgumentException("Kafka has no API " + args[0]));
        for (String type : List.of("request", "response")) {
            ApiMessageType of = api.messageType;
            for (short version = of.lowestSupportedVersion(); version <= of.highestSupportedVersion(true); version++) {
                for (int fill = -1; fill < 4; fill++) {
                    ApiMessage body = type.equals("request") ? of.newRequest() : of.newResponse();
                    if (fill >= 0) {
                        fill(body, version, fill == 1);
                    }
                    print(api, type, version, fill, body);
                }
            }
        }
    }

    static void print(ApiKeys api, String type, short version, int fill, ApiMessage body) throws Exception {
        boolean isRequest = type.equals("request");
        int id = random.nextInt(1_000_000);
        short headerVersion = isRequest ? api.requestHeaderVersion(version) : api.responseHeaderVersion(version);
        ApiMessage header = isRequest
            ? new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version).setCorrelationId(id).setClientId("rskafka")
            : new ResponseHeaderData().setCorrelationId(id);
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        String kind = fill < 0 ? "default" : "filled-" + fill;
        line.put("id", body.getClass().getSimpleName().replace("Data", "") + "-v" + version + "-" + kind);
        line.put("kind", fill < 0 ? "default" : "filled");
        line.put("api", api.name).put("api_key", api.id).put("type", type).put("version", version);
        line.put("flexible", api.requestHeaderVersion(version) >= 2);
        line.set("body_json", json(body, version));
        line.put("body_hex", hex(body, version)).put("header_version", headerVersion);
        line.set("header_json", json(header, headerVersion));
        line.put("header_hex", hex(header, headerVersion));
        System.out.println(line);
    }

    /** Sets every field that the version has. */
    static void fill(Message message, short version, boolean extreme) throws Exception {
        Schema[] schemas = (Schema[]) message.getClass().getField("SCHEMAS").get(null);
        Set<String> names = new HashSet<>();
        for (BoundField field : schemas[version].fields()) {
            names.add(field.def.name.replace("_", ""));
            if (field.def.type instanceof TaggedFields tagged) {
                tagged.fields().values().forEach(of -> names.add(of.name.replace("_", "")));
            }
        }
        Method[] methods = message.getClass().getMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method setter : methods) {
            String name = setter.getName().substring(Math.min(3, setter.getName().length())).toLowerCase(Locale.ROOT);
            if (setter.getName().startsWith("set") && setter.getParameterCount() == 1 && names.contains(name)) {
                setter.invoke(message, value(setter.getGenericParameterTypes()[0], version, extreme));
            }
        }
    }

    static Object value(Type type, short version, boolean extreme) throws Exception {
        long number = extreme ? (random.nextBoolean() ? Long.MAX_VALUE : Long.MIN_VALUE) : random.nextInt(5_000);
        if (type == boolean.class) return random.nextBoolean();
        if (type == byte.class) return (byte) (extreme ? Byte.MIN_VALUE : number % 100);
        if (type == short.class) return (short) (extreme ? Short.MIN_VALUE : number);
        if (type == int.class) return (int) (extreme ? number >> 32 : number);
        if (type == long.class) return number;
        if (type == double.class) return (double) number;
        if (type == String.class) return extreme ? "x".repeat(200) : TEXTS[random.nextInt(TEXTS.length)];
        if (type == byte[].class) return TEXTS[random.nextInt(TEXTS.length)].getBytes("UTF-8");
        if (type == Uuid.class) return new Uuid(random.nextLong(), random.nextLong());
        boolean isList = type instanceof ParameterizedType;
        Class<?> collection = isList ? null : (Class<?>) type;
        if (!isList && !Collection.class.isAssignableFrom(collection)) throw new IllegalArgumentException("cannot fill " + type);
        Type of = isList ? type : collection.getGenericSuperclass();
        Type element = ((ParameterizedType) of).getActualTypeArguments()[0];
        @SuppressWarnings("unchecked")
        Collection<Object> values = isList ? new ArrayList<>() : (Collection<Object>) collection.getConstructor().newInstance();
        for (int i = 0; i < 2; i++) {
            values.add(element(element, version, extreme));
        }
        return values;
    }

    static Object element(Type type, short version, boolean extreme) throws Exception {
        if (type instanceof Class<?> message && Message.class.isAssignableFrom(message)) {
            Message made = (Message) message.getConstructor().newInstance();
            fill(made, version, extreme);
            return made;
        }
        Map<Type, Type> primitives = Map.of(Integer.class, int.class, Long.class, long.class, Short.class, short.class, Byte.class, byte.class);
        return value(primitives.getOrDefault(type, type), version, extreme);
    }

    static JsonNode json(ApiMessage message, short version) throws Exception {
        Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
        return (JsonNode) converter.getMethod("write", message.getClass(), short.class).invoke(null, message, version);
    }

    static String hex(ApiMessage message, short version) {
        ByteBuffer bytes = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] copied = new byte[bytes.remaining()];
        bytes.get(copied);
        return HexFormat.of().formatHex(copied);
    }
}
