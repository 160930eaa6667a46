// Go's net/http: http.DefaultClient.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
)

// body returns the body of a call and its Content-Type.
func body(kind, text string) (io.Reader, string) {
	switch kind {
	case "none":
		return nil, ""
	case "form":
		return strings.NewReader(text), "application/x-www-form-urlencoded"
	case "json":
		return strings.NewReader(text), "application/json"
	case "multipart":
		var buffer bytes.Buffer
		writer := multipart.NewWriter(&buffer)
		fields, _ := url.ParseQuery(text)
		for name := range fields {
			writer.WriteField(name, fields.Get(name))
		}
		writer.Close()
		return &buffer, writer.FormDataContentType()
	}
	return strings.NewReader(text), ""
}

func send(call []string) (string, error) {
	content, kind := body(call[2], call[3])
	request, err := http.NewRequest(call[0], call[1], content)
	if err != nil {
		return "", err
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	for _, header := range call[4:] {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	line := fmt.Sprint(response.StatusCode, "\t", base64.StdEncoding.EncodeToString(answer))
	for name, values := range response.Header {
		for _, value := range values {
			line += "\t" + name + ": " + value
		}
	}
	return line, err
}

func main() {
	fmt.Println("ready\t" + strings.TrimPrefix(runtime.Version(), "go"))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line, err := send(strings.Split(lines.Text(), "\t"))
		if err != nil {
			line = "dropped\t" + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(line)
	}
}
