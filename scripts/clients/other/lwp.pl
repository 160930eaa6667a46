# Perl's LWP::UserAgent with keep-alive.
use strict;
use warnings;
use HTTP::Request::Common;
use LWP::UserAgent;
use MIME::Base64;
use URI;

$| = 1;
my $agent = LWP::UserAgent->new(keep_alive => 1);
print "ready\t", LWP::UserAgent->VERSION, "\n";

while (my $line = <STDIN>) {
    chomp $line;
    my ($method, $url, $kind, $text, @headers) = split /\t/, $line, -1;
    my %headers = map { split /: /, $_, 2 } @headers;
    my $uri = URI->new('http://fields/');
    $uri->query($text);
    my @fields = $kind eq 'form' || $kind eq 'multipart' ? $uri->query_form : ();

    my $request;
    if ($method eq 'GET') { $request = GET $url, %headers }
    elsif ($kind eq 'none') { $request = POST $url, %headers }
    elsif ($kind eq 'form') { $request = POST $url, \@fields, %headers }
    elsif ($kind eq 'multipart') { $request = POST $url, Content_Type => 'form-data', Content => \@fields, %headers }
    elsif ($kind eq 'json') { $request = POST $url, Content_Type => 'application/json', Content => $text, %headers }
    else { $request = POST $url, %headers, Content => $text }

    my $answer = $agent->request($request);
    if (($answer->header('Client-Warning') // '') eq 'Internal response') {
        print "dropped\t", $answer->status_line, "\n";
        next;
    }
    my @names;
    $answer->headers->scan(sub { push @names, "$_[0]: $_[1]" unless $_[0] =~ /^Client-/ });
    print join("\t", $answer->code, encode_base64($answer->content, ''), @names), "\n";
}
