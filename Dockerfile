# Caddy with this module, as the documentation of Caddy's official image has it:
#
#	docker build --tag caddy-illumichat .
#
# It has the newest release of the module; for another one, write its version behind the path: @v1.2.3.

FROM caddy:2.11.9-builder AS builder

RUN xcaddy build --with github.com/illumichat/caddy-illumichat

FROM caddy:2.11.9

COPY --from=builder /usr/bin/caddy /usr/bin/caddy
