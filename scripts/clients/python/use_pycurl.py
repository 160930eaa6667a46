"""pycurl: one handle, reset after each call."""

import io
from urllib.parse import urlencode

import pycurl
from lines import serve

curl = pycurl.Curl()


def send(call):
    names, body = [], io.BytesIO()
    headers = dict(call.headers)
    curl.reset()
    if call.kind == "multipart":
        curl.setopt(curl.HTTPPOST, list(call.fields.items()))
    elif call.method == "POST":
        curl.setopt(curl.POSTFIELDS, urlencode(call.fields) if call.kind == "form" else call.text)
    if call.kind == "json":
        headers["Content-Type"] = "application/json"
    curl.setopt(curl.URL, call.url)
    curl.setopt(curl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
    curl.setopt(curl.HEADERFUNCTION, lambda line: names.append(line.decode().rstrip().split(": ", 1)))
    curl.setopt(curl.WRITEDATA, body)
    curl.perform()
    return curl.getinfo(curl.RESPONSE_CODE), [name for name in names if len(name) == 2], body.getvalue()


serve(pycurl.version.split()[0].partition("/")[2] + ", libcurl " + pycurl.version_info()[1], send)
