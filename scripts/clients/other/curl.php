<?php
// PHP's curl: one handle, reset after each call.
$curl = curl_init();
echo "ready\t", PHP_VERSION, ', libcurl ', curl_version()['version'], "\n";

while (($line = fgets(STDIN)) !== false) {
    [$method, $url, $kind, $text] = $headers = explode("\t", rtrim($line, "\n"));
    $headers = array_slice($headers, 4);
    parse_str($text, $fields);
    $names = [];
    curl_reset($curl);
    if ($kind == 'json') {
        $headers[] = 'Content-Type: application/json';
    }
    if ($method == 'POST') {
        $bodies = ['form' => http_build_query($fields), 'multipart' => $fields];
        curl_setopt($curl, CURLOPT_POSTFIELDS, $bodies[$kind] ?? $text);
    }
    curl_setopt_array($curl, [
        CURLOPT_URL => $url,
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HEADERFUNCTION => function ($curl, $header) use (&$names) {
            if (str_contains($header, ': ')) {
                $names[] = rtrim($header);
            }
            return strlen($header);
        },
    ]);
    $body = curl_exec($curl);
    if ($body === false) {
        echo "dropped\t", curl_error($curl), "\n";
    } else {
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        echo implode("\t", [$status, base64_encode($body), ...$names]), "\n";
    }
}
