# s3rver, which is a stand-in for S3, with its own packages beside it.
FROM localhost/debian:bookworm-slim
RUN apt-get update -q && apt-get install -yq --no-install-recommends nodejs && rm -rf /var/lib/apt/lists/*
COPY node_modules /s3/node_modules
ENTRYPOINT ["node", "/s3/node_modules/s3rver/bin/s3rver.js", "--directory", "/models", "--address", "0.0.0.0", "--port", "443", \
            "--key", "/certificate/key.pem", "--cert", "/certificate/certificate.pem"]
