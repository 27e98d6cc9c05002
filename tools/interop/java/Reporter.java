import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Objects;
import java.util.Random;

/** Prints one line per test in the form the rig reads, and counts. */
final class Reporter {
    interface Body {
        void run() throws Exception;
    }

    private static final Random RANDOM = new Random();
    private int count;

    void test(String name, Body body) {
        long start = System.nanoTime();
        Throwable failure = null;
        try {
            body.run();
        } catch (Throwable t) {
            failure = t;
        }
        count++;
        double seconds = (System.nanoTime() - start) / 1e9;
        System.out.printf("%s %s %.2f%n", failure == null ? "PASS" : "FAIL", name, seconds);
        if (failure != null) {
            StringWriter text = new StringWriter();
            failure.printStackTrace(new PrintWriter(text));
            text.toString().lines().limit(12).forEach(line -> System.out.println("| " + line));
        }
        System.out.flush();
    }

    void done() {
        System.out.println("DONE " + count);
    }

    static String name(String prefix) {
        return prefix + "-" + Integer.toHexString(RANDOM.nextInt());
    }

    static void equal(String what, Object got, Object want) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError(what + ": got " + got + ", expected " + want);
        }
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    /** Asks again for at most 20 s: what Kafka's controller has taken, the broker beside it shows a moment later. */
    static void eventually(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (!condition.holds()) {
            that("not within 20 s: " + what, System.nanoTime() < deadline);
            Thread.sleep(1);
        }
    }

    static void that(String what, boolean holds) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
