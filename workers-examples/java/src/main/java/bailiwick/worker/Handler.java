package bailiwick.worker;

/** Does one attempt of one turn. What it throws becomes a FAILED answer; a {@link RetryableException} may be tried again. */
@FunctionalInterface
public interface Handler {
    Answer handle(Attempt attempt) throws Exception;
}
