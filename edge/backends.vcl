# For docker-compose.yml: the origin is HAProxy's inner door, and whoever is on the inner network may empty the cache.
backend origin {
  .host = "haproxy";
  .port = "8090";
  .first_byte_timeout = 15s;
  .between_bytes_timeout = 15s;
  .max_connections = 512;
}

acl purgers {
  "127.0.0.1";
  "10.0.0.0"/8;
  "172.16.0.0"/12;
  "192.168.0.0"/16;
}
