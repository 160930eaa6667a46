import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;

/** java.net.HttpURLConnection. The body of a response with a status of 400 or above is in the error stream. */
class JavaHttpUrlConnection {
    static Lines.Answer send(Lines.Call call) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL(call.url).openConnection();
        connection.setRequestMethod(call.method);
        call.headers.forEach(connection::setRequestProperty);
        if (call.type() != null) connection.setRequestProperty("Content-Type", call.type());
        if (call.method.equals("POST")) {
            connection.setDoOutput(true);
            connection.getOutputStream().write(call.body().getBytes(StandardCharsets.UTF_8));
        }
        int status = connection.getResponseCode();
        try (InputStream stream = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            Lines.Answer answer = new Lines.Answer(status, stream.readAllBytes());
            connection.getHeaderFields().forEach((name, values) -> {
                if (name != null) values.forEach(value -> answer.with(name, value));
            });
            return answer;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(System.getProperty("java.version"), JavaHttpUrlConnection::send);
    }
}
