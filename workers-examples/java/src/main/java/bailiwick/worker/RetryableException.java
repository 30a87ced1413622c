package bailiwick.worker;

/** A technical failure (an upstream outage, a rate limit): another attempt may do better. */
public class RetryableException extends Exception {
    private static final long serialVersionUID = 1L;

    public RetryableException(String message) {
        super(message);
    }

    public RetryableException(String message, Throwable cause) {
        super(message, cause);
    }
}
