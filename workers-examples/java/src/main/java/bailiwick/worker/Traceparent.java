package bailiwick.worker;

import java.security.SecureRandom;
import java.util.HexFormat;

/** W3C trace context. */
public final class Traceparent {
    private static final SecureRandom RANDOM = new SecureRandom();

    private Traceparent() {}

    /** Keeps the trace and makes a new span id; without a valid parent, a new trace. */
    public static String child(String parent) {
        String[] parts = parent.split("-");
        if (parts.length != 4 || parts[1].length() != 32 || parts[3].length() != 2) {
            return "00-" + hex(16) + "-" + hex(8) + "-01";
        }
        return "00-" + parts[1] + "-" + hex(8) + "-" + parts[3];
    }

    private static String hex(int bytes) {
        byte[] random = new byte[bytes];
        RANDOM.nextBytes(random);
        return HexFormat.of().formatHex(random);
    }
}
