#!/bin/sh
# A runner of Beam gives the image nothing but options, and wants a worker; everybody else gives it a command.
set -eu

case "${1-}" in
    -*) exec /opt/apache/beam/boot "$@" ;;
    *) exec "$@" ;;
esac
