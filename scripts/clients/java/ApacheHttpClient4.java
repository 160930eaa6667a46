import java.util.ArrayList;
import java.util.List;
import org.apache.http.Header;
import org.apache.http.HttpEntity;
import org.apache.http.NameValuePair;
import org.apache.http.client.entity.UrlEncodedFormEntity;
import org.apache.http.client.methods.CloseableHttpResponse;
import org.apache.http.client.methods.RequestBuilder;
import org.apache.http.entity.ContentType;
import org.apache.http.entity.StringEntity;
import org.apache.http.entity.mime.MultipartEntityBuilder;
import org.apache.http.impl.client.CloseableHttpClient;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.message.BasicNameValuePair;
import org.apache.http.util.EntityUtils;

/** Apache HttpClient 4. */
class ApacheHttpClient4 {
    static final CloseableHttpClient CLIENT = HttpClients.createDefault();

    static HttpEntity body(Lines.Call call) throws Exception {
        switch (call.kind) {
            case "form":
                List<NameValuePair> form = new ArrayList<>();
                call.fields().forEach((name, value) -> form.add(new BasicNameValuePair(name, value)));
                return new UrlEncodedFormEntity(form);
            case "multipart":
                MultipartEntityBuilder parts = MultipartEntityBuilder.create();
                call.fields().forEach(parts::addTextBody);
                return parts.build();
            case "json":
                return new StringEntity(call.text, ContentType.APPLICATION_JSON);
            case "text":
                return new StringEntity(call.text);
            default:
                return null;
        }
    }

    static Lines.Answer send(Lines.Call call) throws Exception {
        RequestBuilder request = RequestBuilder.create(call.method).setUri(call.url).setEntity(body(call));
        call.headers.forEach(request::setHeader);
        try (CloseableHttpResponse response = CLIENT.execute(request.build())) {
            byte[] body = EntityUtils.toByteArray(response.getEntity());
            Lines.Answer answer = new Lines.Answer(response.getStatusLine().getStatusCode(), body);
            for (Header header : response.getAllHeaders()) answer.with(header.getName(), header.getValue());
            return answer;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(Lines.version(CloseableHttpClient.class), ApacheHttpClient4::send);
    }
}
