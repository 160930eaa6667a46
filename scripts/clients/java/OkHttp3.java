import okhttp3.FormBody;
import okhttp3.Headers;
import okhttp3.MediaType;
import okhttp3.MultipartBody;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

/** OkHttp 3. Its multipart bodies have the type `multipart/mixed` unless another one is set. */
class OkHttp3 {
    static final OkHttpClient CLIENT = new OkHttpClient();

    static RequestBody body(Lines.Call call) {
        switch (call.kind) {
            case "form":
                FormBody.Builder form = new FormBody.Builder();
                call.fields().forEach(form::add);
                return form.build();
            case "multipart":
                MultipartBody.Builder parts = new MultipartBody.Builder();
                call.fields().forEach(parts::addFormDataPart);
                return parts.build();
            case "none":
                return call.method.equals("GET") ? null : RequestBody.create(null, new byte[0]);
            default:
                return RequestBody.create(MediaType.parse(call.type()), call.text);
        }
    }

    static Lines.Answer send(Lines.Call call) throws Exception {
        Request.Builder request = new Request.Builder().url(call.url).headers(Headers.of(call.headers));
        try (Response response = CLIENT.newCall(request.method(call.method, body(call)).build()).execute()) {
            Lines.Answer answer = new Lines.Answer(response.code(), response.body().bytes());
            Headers headers = response.headers();
            for (int i = 0; i < headers.size(); i++) answer.with(headers.name(i), headers.value(i));
            return answer;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(Lines.version(OkHttpClient.class), OkHttp3::send);
    }
}
