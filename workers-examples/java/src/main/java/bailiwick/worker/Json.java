package bailiwick.worker;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.protobuf.ListValue;
import com.google.protobuf.NullValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as Java knows it: Map, List, String, Number, Boolean and null, to and from the protobuf Value. */
public final class Json {
    private Json() {}

    /** Throws IllegalArgumentException for what JSON cannot say. */
    public static Value toValue(Object object) {
        Value.Builder value = Value.newBuilder();
        if (object == null) {
            value.setNullValue(NullValue.NULL_VALUE);
        } else if (object instanceof Value ready) {
            return ready;
        } else if (object instanceof Boolean flag) {
            value.setBoolValue(flag);
        } else if (object instanceof Number number && Double.isFinite(number.doubleValue())) {
            value.setNumberValue(number.doubleValue());
        } else if (object instanceof CharSequence text) {
            value.setStringValue(wellFormed(text.toString()));
        } else if (object instanceof Map<?, ?> map) {
            Struct.Builder struct = Struct.newBuilder();
            map.forEach((key, field) -> struct.putFields(wellFormed(String.valueOf(key)), toValue(field)));
            value.setStructValue(struct);
        } else if (object instanceof Iterable<?> items) {
            ListValue.Builder list = ListValue.newBuilder();
            items.forEach(item -> list.addValues(toValue(item)));
            value.setListValue(list);
        } else {
            throw new IllegalArgumentException("no JSON for " + object.getClass().getName() + " " + object);
        }
        return value.build();
    }

    /** Numbers that are whole come back as Long, others as Double. */
    public static Object fromValue(Value value) {
        switch (value.getKindCase()) {
            case BOOL_VALUE:
                return value.getBoolValue();
            case NUMBER_VALUE:
                double number = value.getNumberValue();
                return number == Math.rint(number) && Math.abs(number) < 1e15 ? (Object) (long) number : (Object) number;
            case STRING_VALUE:
                return value.getStringValue();
            case STRUCT_VALUE:
                Map<String, Object> map = new LinkedHashMap<>();
                value.getStructValue().getFieldsMap().forEach((key, field) -> map.put(key, fromValue(field)));
                return map;
            case LIST_VALUE:
                // Not Stream.toList alone: a JSON list may hold null.
                return value.getListValue().getValuesList().stream().map(Json::fromValue).toList();
            default:
                return null;
        }
    }

    /** The members of an object; empty for anything else. */
    @SuppressWarnings("unchecked")
    public static Map<String, Object> object(Object json) {
        return json instanceof Map ? (Map<String, Object>) json : Map.of();
    }

    /** The items of a list; empty for anything else. */
    @SuppressWarnings("unchecked")
    public static List<Object> list(Object json) {
        return json instanceof List ? (List<Object>) json : List.of();
    }

    /** The text of a string; empty for anything else. */
    public static String text(Object json) {
        return json instanceof String text ? text : "";
    }

    /** The whole number; 0 for anything else. */
    public static long whole(Object json) {
        return json instanceof Number number ? number.longValue() : 0;
    }

    /** Half a surrogate pair, as cutting leaves behind, has no UTF-8 form. */
    static String wellFormed(String text) {
        return new String(text.getBytes(UTF_8), UTF_8);
    }

    /** Cuts a text to its bound in bytes, at a character. */
    static String clip(String text, int bytes) {
        byte[] utf8 = text.getBytes(UTF_8);
        if (utf8.length <= bytes) {
            return wellFormed(text);
        }
        int end = bytes;
        while (end > 0 && (utf8[end] & 0xC0) == 0x80) {
            end--;
        }
        return new String(utf8, 0, end, UTF_8);
    }
}
