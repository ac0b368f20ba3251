{{/* What several templates share. Each takes the root context, or a dict with `root` and `shard`. */}}

{{/* A name that is short enough for that of a shard after it, and another one for each name that is too long. */}}
{{- define "multiarch.short" -}}
{{- if gt (len .) 50 -}}
{{ trunc 41 . | trimSuffix "-" }}-{{ sha256sum . | trunc 8 }}
{{- else -}}
{{ . }}
{{- end }}
{{- end }}

{{- define "multiarch.name" -}}
{{ .Values.nameOverride | default .Chart.Name | include "multiarch.short" }}
{{- end }}

{{- define "multiarch.fullname" -}}
{{- $name := include "multiarch.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ include "multiarch.short" .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ include "multiarch.short" .Release.Name }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | include "multiarch.short" }}
{{- end }}
{{- end }}

{{/* The name of the metrics' Service, which is the one that must begin with a letter. */}}
{{- define "multiarch.serviceName" -}}
{{- $name := include "multiarch.fullname" . -}}
{{ regexMatch "^[0-9]" $name | ternary (printf "metrics-%s" $name) (printf "%s-metrics" $name) }}
{{- end }}

{{/* The number of replicas; empty where it is left to others. */}}
{{- define "multiarch.replicas" -}}
{{- if not (has (kindOf .Values.replicaCount) (list "invalid" "string")) }}{{ int .Values.replicaCount }}{{ end }}
{{- end }}

{{/* The name of a shard's Deployment, PodDisruptionBudget and Lease. */}}
{{- define "multiarch.shardName" -}}
{{ include "multiarch.fullname" .root }}{{ if ne .shard "main" }}-{{ .shard }}{{ end }}
{{- end }}

{{/* All shards, as JSON: `main` is always there. */}}
{{- define "multiarch.shards" -}}
{{ concat (list "main") .Values.shards | toJson }}
{{- end }}

{{- define "multiarch.selector" -}}
app.kubernetes.io/name: {{ include "multiarch.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "multiarch.shardSelector" -}}
{{ include "multiarch.selector" .root }}
multiarch.dev/shard: {{ .shard | quote }}
{{- end }}

{{/* The labels of an object: ours stay whatever else is given. A dict with `root` and, of a shard's, `shard`, and `more` labels. */}}
{{- define "multiarch.labels" -}}
{{- $ours := hasKey . "shard" | ternary (include "multiarch.shardSelector" .) (include "multiarch.selector" .root) | fromYaml -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $ours "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $ours "app.kubernetes.io/part-of" "multiarch-operator" -}}
{{ merge $ours (.more | default dict) .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* Those of a Pod of `helm test`: not those that Services and Deployments select by. */}}
{{- define "multiarch.checkLabels" -}}
{{- $ours := dict "app.kubernetes.io/name" (include "multiarch.checkName" .) "app.kubernetes.io/instance" .Release.Name -}}
{{ merge $ours .Values.podLabels .Values.commonLabels | toYaml }}
{{- end }}

{{- define "multiarch.checkName" -}}
{{ include "multiarch.name" . }}-check
{{- end }}

{{/* Those of a shard's Pods: without what changes with each version of the chart. */}}
{{- define "multiarch.podLabels" -}}
{{ merge (include "multiarch.shardSelector" . | fromYaml) .root.Values.podLabels .root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "multiarch.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "multiarch.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "multiarch.image" -}}
{{- $image := .Values.image -}}
{{- $registry := (.Values.global).imageRegistry | default $image.registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository -}}
{{- if $image.digest -}}
{{ with $image.tag }}:{{ . }}{{ end }}@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "multiarch.leaseNamespace" -}}
{{ .Values.leaderElection.namespace | default .Release.Namespace }}
{{- end }}

{{/* Not empty where the operator keeps coverage maps. */}}
{{- define "multiarch-operator.coverageMaps" -}}
{{- if or .Values.admission.enabled .Values.coverageMaps.enabled }}true{{ end -}}
{{- end }}

{{/* `caBundle` as the source of a volume; empty without one. */}}
{{- define "multiarch.caSource" -}}
{{- $ca := .Values.caBundle -}}
{{- with $ca.existingSecret.name }}
secret:
  secretName: {{ . | quote }}
  items:
  - key: {{ $ca.existingSecret.key | quote }}
    path: ca.crt
{{- end }}
{{- with $ca.existingConfigMap.name }}
configMap:
  name: {{ . | quote }}
  items:
  - key: {{ $ca.existingConfigMap.key | quote }}
    path: ca.crt
{{- end }}
{{- if $ca.inline }}
configMap:
  name: {{ include "multiarch.fullname" . | printf "%s-ca" | quote }}
{{- end }}
{{- end }}

{{/* The ConfigMap with the kubelet's config; empty without one. */}}
{{- define "multiarch.providersConfigMap" -}}
{{- if .Values.credentialProviders.existingConfigMap -}}
{{ .Values.credentialProviders.existingConfigMap }}
{{- else if .Values.credentialProviders.config -}}
{{ include "multiarch.fullname" . }}-credential-providers
{{- end }}
{{- end }}
