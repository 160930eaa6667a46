"""httpx: a Client."""

import httpx
from lines import serve

client = httpx.Client()


def body(call):
    match call.kind:
        case "form":
            return {"data": call.fields}
        case "multipart":
            return {"files": {name: (None, value) for name, value in call.fields.items()}}
        case "json":
            return {"json": call.json}
        case "text":
            return {"content": call.text}
    return {}


def send(call):
    answer = client.request(call.method, call.url, headers=call.headers, **body(call))
    names = [(name.decode(), value.decode()) for name, value in answer.headers.raw]
    return answer.status_code, names, answer.content


serve(httpx.__version__, send)
