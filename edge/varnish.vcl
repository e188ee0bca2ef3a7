# What is the same for everybody, kept for a while: the storefront's files for as long as they say, the catalogue for seconds, and longer only
# while a new copy is being fetched. `backends.vcl` beside it says where the origin is and who may empty the cache: compose has one, `stack` writes one.
vcl 4.1;

import std;

include "backends.vcl";

sub vcl_recv {
  if (req.url == "/edge-health") {
    return (synth(200, "OK"));
  }
  # One word of X-Purge-Tags names what changed; a list is `a|b|c`.
  if (req.method == "PURGE") {
    if (client.ip !~ purgers || req.http.X-Forwarded-For ~ ",") {
      return (synth(405, "Not here"));
    }
    if (req.http.X-Purge-Tags !~ "^[A-Za-z0-9._:|-]{1,7000}$") {
      return (synth(400, "X-Purge-Tags is tags with | between them"));
    }
    # the pattern is of tags only, each whole
    if (!std.ban("obj.http.Cache-Tag ~ (^|,)(" + regsuball(req.http.X-Purge-Tags, "\.", "[.]") + ")(,|$)")) {
      return (synth(400, std.ban_error()));
    }
    return (synth(204, "Purged"));
  }
  # HAProxy sends no such thing here; were it to, it would still meet no copy and leave none.
  if (req.http.Authorization || req.http.Cookie || req.http.X-Customer-Id) {
    return (pass);
  }
  if (req.method != "GET" && req.method != "HEAD") {
    return (pass);
  }
  if (req.url ~ "^/v1/" && req.url !~ "^/v1/(products|categories)(\?|$)") {
    return (pass);
  }
  # one page, however its query is written
  set req.url = std.querysort(req.url);
  return (hash);
}

sub vcl_hash {
  # a page is served for every view to who reads pages, and only to those
  if (req.url !~ "^/v1/" && req.http.Accept ~ "text/html") {
    hash_data("page");
  }
}

sub vcl_backend_response {
  if (bereq.uncacheable) {
    return (deliver);
  }
  # about one caller, or about one moment: no part of a copy
  unset beresp.http.X-Request-Id;
  unset beresp.http.RateLimit;
  unset beresp.http.RateLimit-Policy;
  if (beresp.http.Set-Cookie || beresp.status != 200) {
    # not kept, and nobody waits for it again: the next to ask do so side by side
    set beresp.ttl = 1s;
    set beresp.uncacheable = true;
    return (deliver);
  }
  if (bereq.url ~ "^/v1/") {
    set beresp.ttl = 2s;
    # who comes in that time is answered at once, by the old copy; the new one is fetched behind it
    set beresp.grace = 10s;
    set beresp.keep = 0s;
  }
  # index.html and the like say no-cache: the built-in rules pass them
}

sub vcl_deliver {
  unset resp.http.Cache-Tag;
  unset resp.http.Via;
  unset resp.http.X-Varnish;
  if (obj.hits > 0) {
    set resp.http.X-Cache = "hit";
  } else {
    set resp.http.X-Cache = "miss";
  }
}
