{{/* What several templates share. Each takes the root context, or a dict with `root` and `shard`. */}}

{{- define "multiarch.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for the name of a shard after it. */}}
{{- define "multiarch.fullname" -}}
{{- $name := include "multiarch.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
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
app.kubernetes.io/name: {{ include "multiarch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "multiarch.shardSelector" -}}
{{ include "multiarch.selector" .root }}
multiarch.dev/shard: {{ .shard }}
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
{{- $registry := .Values.global.imageRegistry | default $image.registry -}}
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
  secretName: {{ . }}
  items:
  - key: {{ $ca.existingSecret.key }}
    path: ca.crt
{{- end }}
{{- with $ca.existingConfigMap.name }}
configMap:
  name: {{ . }}
  items:
  - key: {{ $ca.existingConfigMap.key }}
    path: ca.crt
{{- end }}
{{- if $ca.inline }}
configMap:
  name: {{ include "multiarch.fullname" . }}-ca
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
