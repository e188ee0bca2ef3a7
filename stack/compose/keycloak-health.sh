#!/bin/bash
# Healthy means used: our realm publishes its configuration.
exec 3<>/dev/tcp/127.0.0.1/8080 || exit 1
printf 'GET /realms/orders/.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
