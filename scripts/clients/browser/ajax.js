// jQuery's $.ajax: a call as a line, and its answer as a line. The page's cookies go with it.
function ajax (line, reply) {
  var call = line.split('\t')
  var options = { method: call[0], url: call[1], headers: {}, xhrFields: { withCredentials: true } }
  call.slice(4).forEach(function (header) {
    var at = header.indexOf(': ')
    options.headers[header.slice(0, at)] = header.slice(at + 2)
  })
  var fields = Object.fromEntries(new URLSearchParams(call[3]))
  if (call[2] === 'form') options.data = fields
  if (call[2] === 'json') $.extend(options, { data: call[3], contentType: 'application/json' })
  if (call[2] === 'text') $.extend(options, { data: call[3], contentType: options.headers['Content-Type'] })
  if (call[2] === 'multipart') {
    var data = new FormData()
    $.each(fields, function (name, value) { data.append(name, value) })
    $.extend(options, { data: data, contentType: false, processData: false })
  }
  options.complete = function (xhr, outcome) {
    if (!xhr.status || outcome === 'parsererror') return reply('dropped\t' + outcome)
    var headers = xhr.getAllResponseHeaders().trim().split('\r\n').join('\t')
    reply(xhr.status + '\t' + btoa(unescape(encodeURIComponent(xhr.responseText))) + '\t' + headers)
  }
  $.ajax(options)
}
