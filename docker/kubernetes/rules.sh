#!/bin/sh
# Prints ../prometheus/rules.yml as an object for the Prometheus Operator: ./rules.sh | kubectl apply -f -
set -eu
cd "$(dirname "$0")"
cat <<'END'
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: drover
  labels: {app.kubernetes.io/name: drover}
spec:
END
sed 's/^./  &/' ../prometheus/rules.yml
