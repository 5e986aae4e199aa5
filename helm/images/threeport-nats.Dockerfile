# Context: the folder of nats-server, built with CGO_ENABLED=0.
FROM scratch
COPY --chmod=0755 nats-server /nats-server
USER 65532:65532
ENTRYPOINT ["/nats-server"]
