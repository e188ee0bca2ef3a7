#!/bin/bash
# Succeeds when this container's program answers 200 on /readyz.
exec 3<>"/dev/tcp/127.0.0.1/${OPS_ADDR##*:}" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
