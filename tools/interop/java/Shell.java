import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's console tools one after the other in one process. A line in is the time limit in milliseconds, the standard
 * input in base64, the class and its arguments, separated by tabs; a line out is the exit status and what was printed, in base64. With
 * a limit of 0 the tool goes on behind the ones that follow, and has no input; the line out is there at once.
 */
final class Shell {
    /** Ends a tool where it would have ended the process. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;

        Ended() {
            super("the tool has ended", null, false, false);
        }
    }

    /** One tool at work, known to the threads it starts. */
    private static final class Run {
        private final ByteArrayOutputStream output = new ByteArrayOutputStream();
        private Integer status;
        private int printed;

        synchronized void end(int code) {
            if (status == null) {
                // Tools that catch everything report their own end as a failure; that is not theirs to say.
                printed = output.size();
                status = code;
            }
        }

        synchronized String answer() {
            byte[] text = Arrays.copyOf(output.toByteArray(), printed);
            return status + "\t" + Base64.getEncoder().encodeToString(text);
        }
    }

    private static final InheritableThreadLocal<Run> CURRENT = new InheritableThreadLocal<>();

    /** Gives what a thread prints to the run that it belongs to, however late. */
    private static final class Dispatcher extends OutputStream {
        @Override
        public void write(int b) {
            Run run = CURRENT.get();
            if (run != null) {
                run.output.write(b);
            }
        }

        @Override
        public void write(byte[] bytes, int from, int n) {
            Run run = CURRENT.get();
            if (run != null) {
                run.output.write(bytes, from, n);
            }
        }
    }

    private static void ended(int code) {
        Run run = CURRENT.get();
        if (run != null) {
            run.end(code);
        }
        throw new Ended();
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        PrintStream capture = new PrintStream(new Dispatcher(), true, StandardCharsets.UTF_8);
        System.setOut(capture);
        System.setErr(capture);
        Exit.setExitProcedure((code, message) -> ended(code));
        Exit.setHaltProcedure((code, message) -> ended(code));
        Exit.setShutdownHookAdder((name, runnable) -> { });
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] fields = line.split("\t", -1);
            long limit = Long.parseLong(fields[0]);
            System.setIn(new ByteArrayInputStream(Base64.getDecoder().decode(fields[1])));
            String name = fields[2];
            String[] args = Arrays.copyOfRange(fields, 3, fields.length);
            Run run = new Run();
            Thread tool = new Thread(() -> run(run, name, args), name);
            tool.setDaemon(true);
            tool.start();
            if (limit == 0) {
                run.end(0);
            } else {
                tool.join(limit);
                if (tool.isAlive()) {
                    run.end(-1);
                    tool.interrupt();
                }
            }
            answers.println(run.answer());
            answers.flush();
        }
    }

    private static void run(Run run, String name, String[] args) {
        CURRENT.set(run);
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            run.end(0);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                // What the virtual machine prints for a main that throws.
                System.err.println("Exception in thread \"main\" " + e.getCause());
                run.end(1);
            }
        } catch (ReflectiveOperationException e) {
            System.err.println("no such tool: " + e);
            run.end(2);
        }
    }
}
