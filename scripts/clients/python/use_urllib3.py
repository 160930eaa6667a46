"""urllib3: a PoolManager."""

import urllib3
from lines import serve

pool = urllib3.PoolManager()


def body(call):
    match call.kind:
        case "form":
            return {"fields": call.fields, "encode_multipart": False}
        case "multipart":
            return {"fields": call.fields}
        case "json":
            return {"json": call.json}
        case "text":
            return {"body": call.text}
    return {}


def send(call):
    answer = pool.request(call.method, call.url, headers=call.headers, **body(call))
    return answer.status, answer.headers.items(), answer.data


serve(urllib3.__version__, send)
