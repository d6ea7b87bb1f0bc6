# The S3 store without root: the image of MinIO, with a folder that its user may write.
ARG PYTHON_IMAGE=python:3.11.11-slim-bookworm
ARG STORE_IMAGE=minio/minio:RELEASE.2025-04-22T22-12-26Z

FROM ${PYTHON_IMAGE} AS folder
RUN install --directory --owner 10001 --group 10001 /store

FROM ${STORE_IMAGE}
COPY --from=folder --chown=10001:10001 /store /store
ENV MC_CONFIG_DIR=/tmp/mc
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=6 CMD ["mc", "ready", "local"]
CMD ["server", "/store", "--address", ":9000"]
