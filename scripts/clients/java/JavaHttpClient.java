import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;

/** java.net.http.HttpClient, whose first request on a connection offers an upgrade to HTTP/2. */
class JavaHttpClient {
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static Lines.Answer send(Lines.Call call) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(call.url));
        call.headers.forEach(request::setHeader);
        if (call.type() != null) request.setHeader("Content-Type", call.type());
        boolean empty = call.kind.equals("none");
        request.method(call.method, empty ? BodyPublishers.noBody() : BodyPublishers.ofString(call.body()));
        HttpResponse<byte[]> response = CLIENT.send(request.build(), BodyHandlers.ofByteArray());
        Lines.Answer answer = new Lines.Answer(response.statusCode(), response.body());
        response.headers().map().forEach((name, values) -> values.forEach(value -> answer.with(name, value)));
        return answer;
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(System.getProperty("java.version"), JavaHttpClient::send);
    }
}
