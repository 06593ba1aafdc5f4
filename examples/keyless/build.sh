#!/bin/sh
# A build that no key signs: an identity token says who builds, a private Sigstore gives a certificate
# for it, logs what was signed and says when. Verified by the name that is in the certificate.
#
#   SIGSTORE_ID_TOKEN     who signs, as GitLab sets it; GitHub Actions needs no variable
#   SIGNING_CONFIG        which services sign (cosign signing-config create); `public` for the public ones
#   TRUSTED_ROOT          whom who verifies trusts (cosign trusted-root create)
#   IDENTITY, ISSUER      whom to expect in the certificate
#   SEALPACK              the program, if it is not on PATH
#
#   examples/keyless/build.sh [APP]
set -eu
examples=$(cd "$(dirname "$0")/.." && pwd)
app=${1:-$examples/hello}
sealpack=${SEALPACK:-sealpack}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$sealpack" build "$app" --builder "$examples/builder.toml" --no-cache \
    --signing-config "$SIGNING_CONFIG" --trusted-root "$TRUSTED_ROOT" --output "oci:$out/image:v1"

"$sealpack" tree "oci:$out/image:v1"

# Offline: nobody is asked.
"$sealpack" verify "oci:$out/image:v1" --offline --trusted-root "$TRUSTED_ROOT" \
    --certificate-identity "$IDENTITY" --certificate-oidc-issuer "$ISSUER" \
    --claim signature --claim provenance --claim cyclonedx --claim spdx
