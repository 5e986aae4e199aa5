# Context: the folder of the built programs, e.g. target/image. BASE needs glibc and the CA certificates.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
FROM ${BASE}
COPY --chmod=0755 tptctl /usr/bin/tptctl
USER 65532:65532
ENTRYPOINT ["/usr/bin/tptctl"]
