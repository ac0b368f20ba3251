{{/* The metadata of what Prometheus or Grafana find by labels: a dict with `root`, `name` and the `values` of it. */}}
{{- define "multiarch.foundByLabels" -}}
metadata:
  name: {{ .name | quote }}
  namespace: {{ .values.namespace | default .root.Release.Namespace | quote }}
  labels:
    {{- include "multiarch.labels" (dict "root" .root "more" .values.labels) | nindent 4 }}
  {{- with .values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* How a port is scraped. */}}
{{- define "multiarch.scrape" -}}
path: /metrics
# Our label `namespace` is the object's, not the Pod's.
honorLabels: true
{{- with .interval }}
interval: {{ . | quote }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . | quote }}
{{- end }}
{{- with .relabelings }}
relabelings:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}
