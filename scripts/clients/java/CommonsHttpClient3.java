import org.apache.commons.httpclient.Header;
import org.apache.commons.httpclient.HttpClient;
import org.apache.commons.httpclient.HttpMethod;
import org.apache.commons.httpclient.methods.GetMethod;
import org.apache.commons.httpclient.methods.PostMethod;
import org.apache.commons.httpclient.methods.StringRequestEntity;
import org.apache.commons.httpclient.methods.multipart.MultipartRequestEntity;
import org.apache.commons.httpclient.methods.multipart.Part;
import org.apache.commons.httpclient.methods.multipart.StringPart;

/** commons-httpclient 3. */
class CommonsHttpClient3 {
    static final HttpClient CLIENT = new HttpClient();

    static HttpMethod method(Lines.Call call) throws Exception {
        if (call.method.equals("GET")) return new GetMethod(call.url);
        PostMethod post = new PostMethod(call.url);
        switch (call.kind) {
            case "form":
                call.fields().forEach(post::addParameter);
                break;
            case "multipart":
                Part[] parts = call.fields().entrySet().stream()
                    .map(field -> new StringPart(field.getKey(), field.getValue())).toArray(Part[]::new);
                post.setRequestEntity(new MultipartRequestEntity(parts, post.getParams()));
                break;
            case "json":
            case "text":
                post.setRequestEntity(new StringRequestEntity(call.text, call.type(), null));
                break;
            default:
        }
        return post;
    }

    static Lines.Answer send(Lines.Call call) throws Exception {
        HttpMethod method = method(call);
        call.headers.forEach(method::setRequestHeader);
        try {
            CLIENT.executeMethod(method);
            byte[] body = method.getResponseBody();
            Lines.Answer answer = new Lines.Answer(method.getStatusCode(), body == null ? new byte[0] : body);
            for (Header header : method.getResponseHeaders()) answer.with(header.getName(), header.getValue());
            return answer;
        } finally {
            method.releaseConnection();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(Lines.version(HttpClient.class), CommonsHttpClient3::send);
    }
}
