import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;

/** Shared by the Java clients: reads calls as lines from standard input, writes answers as lines to standard output. */
class Lines {
    static final String BOUNDARY = "----check-clients";

    static class Call {
        final String method, url, kind, text;
        final Map<String, String> headers = new LinkedHashMap<>();

        Call(String[] parts) {
            method = parts[0];
            url = parts[1];
            kind = parts[2];
            text = parts[3];
            for (int i = 4; i < parts.length; i++) {
                String[] header = parts[i].split(": ", 2);
                headers.put(header[0], header[1]);
            }
        }

        Map<String, String> fields() {
            Map<String, String> fields = new LinkedHashMap<>();
            for (String field : text.split("&")) {
                String[] pair = field.split("=", 2);
                fields.put(decode(pair[0]), decode(pair[1]));
            }
            return fields;
        }

        /** The Content-Type for libraries without form support; null if there is none. */
        String type() {
            switch (kind) {
                case "form": return "application/x-www-form-urlencoded";
                case "multipart": return "multipart/form-data; boundary=" + BOUNDARY;
                case "json": return "application/json";
                default: return headers.get("Content-Type");
            }
        }

        /** The body for libraries without form support. */
        String body() {
            if (!kind.equals("multipart")) return text;
            StringBuilder body = new StringBuilder();
            fields().forEach((name, value) -> body.append("--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\""
                + name + "\"\r\n\r\n" + value + "\r\n"));
            return body.append("--" + BOUNDARY + "--\r\n").toString();
        }
    }

    static class Answer {
        final StringBuilder line = new StringBuilder();

        Answer(int status, byte[] body) {
            line.append(status).append('\t').append(Base64.getEncoder().encodeToString(body));
        }

        Answer with(String name, String value) {
            line.append('\t').append(name).append(": ").append(value);
            return this;
        }
    }

    interface Sender {
        Answer send(Call call) throws Exception;
    }

    static void serve(String version, Sender sender) throws Exception {
        System.out.println("ready\t" + version);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                System.out.println(sender.send(new Call(line.split("\t", -1))).line);
            } catch (Exception fault) {
                System.out.println("dropped\t" + fault.toString().replaceAll("\\s+", " "));
            }
        }
        System.exit(0);
    }

    /** The version of a library, from the name of Debian's link to its file. */
    static String version(Class<?> library) throws Exception {
        Path file = Path.of(library.getProtectionDomain().getCodeSource().getLocation().toURI());
        String name = file.getFileName().toString().replace(".jar", "");
        try (DirectoryStream<Path> links = Files.newDirectoryStream(file.getParent(), name + "-[0-9]*.jar")) {
            for (Path link : links) return link.getFileName().toString().replaceAll(name + "-|\\.jar", "");
        }
        return "?";
    }

    private static String decode(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }
}
