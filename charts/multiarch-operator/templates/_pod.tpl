{{/* What the operator's Pods and those of `helm test` share. */}}

{{/* The flags of a shard. */}}
{{- define "multiarch.args" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- with $values.watchNamespaces }}
- {{ printf "--watch-namespace=%s" (join "," .) | quote }}
{{- end }}
{{- if ne .shard "main" }}
- {{ printf "--watch-label-selector=multiarch.dev/shard=%s" .shard | quote }}
{{- else if $values.shards }}
- {{ printf "--watch-label-selector=multiarch.dev/shard notin (%s)" (join ", " $values.shards) | quote }}
{{- end }}
{{- $maps := include "multiarch-operator.coverageMaps" $root }}
{{- with $values.leaderElection }}
{{- if .enabled }}
- --leader-elect
{{- end }}
{{- if or .enabled $maps }}
- {{ printf "--leader-election-namespace=%s" (include "multiarch.leaseNamespace" $root) | quote }}
{{- end }}
{{- if .enabled }}
- {{ printf "--leader-election-lease=%s" (include "multiarch.shardName" $) | quote }}
{{- end }}
{{- if or .enabled $maps }}
- --leader-election-lease-duration={{ int .leaseDurationSeconds }}s
- --leader-election-renew-deadline={{ int .renewDeadlineSeconds }}s
- --leader-election-retry-period={{ int .retryPeriodSeconds }}s
{{- end }}
{{- end }}
{{- if $maps }}
- --coverage-maps
{{- end }}
- --shutdown-grace={{ int $values.shutdownGraceSeconds }}s
- --concurrent={{ int $values.concurrent }}
- --registry-qps={{ $values.registryQPS }}
- --cache-mib={{ int $values.cacheMiB }}
{{- if $values.nodePlatforms.enabled }}
- --node-platforms
{{- end }}
{{- if $values.sets.enabled }}
- --sets
{{- end }}
{{- with $values.archives }}
{{- if .existingClaim }}
- --archive-dir=/etc/multiarch/archives
- --archive-settle={{ int .settleSeconds }}s
{{- if .shared }}
- --archive-dir-shared
{{- end }}
{{- end }}
{{- end }}
{{- if $values.insecureAllowHTTP }}
- --insecure-allow-http
{{- end }}
{{- with $values.allowedRegistries }}
- {{ printf "--allowed-registries=%s" (join "," .) | quote }}
{{- end }}
{{- if include "multiarch.caSource" $root }}
- --ca-bundle=/etc/multiarch/ca/ca.crt
{{- end }}
{{- with $values.uploadHosts }}
- {{ printf "--upload-host=%s" (join "," .) | quote }}
{{- end }}
{{- with $values.tokenRealms }}
- {{ printf "--token-realm=%s" (join "," .) | quote }}
{{- end }}
{{- if include "multiarch.providersConfigMap" $root }}
- --credential-provider-config=/etc/multiarch/credential-providers
- {{ printf "--credential-provider-bin-dir=%s" $values.credentialProviders.binDir | quote }}
{{- with $values.credentialProviders.allow }}
- {{ printf "--credential-provider-allow=%s" (join "," .) | quote }}
{{- end }}
{{- end }}
- {{ printf "--admin-listen=%s:%d" $values.admin.address (int $values.admin.port) | quote }}
- {{ printf "--log-level=%s" $values.logLevel | quote }}
- --log-format={{ $values.logFormat }}
{{- with $values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "multiarch.env" -}}
{{- range $name, $value := dict "HTTPS_PROXY" .Values.proxy.httpsProxy "HTTP_PROXY" .Values.proxy.httpProxy "ALL_PROXY" .Values.proxy.allProxy "NO_PROXY" .Values.proxy.noProxy }}
{{- with $value }}
- name: {{ $name | quote }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "multiarch.volumes" -}}
{{- with include "multiarch.caSource" . }}
- name: ca
  {{- . | nindent 2 }}
{{- end }}
{{- with include "multiarch.providersConfigMap" . }}
- name: credential-providers
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- with .Values.archives.existingClaim }}
- name: archives
  persistentVolumeClaim:
    claimName: {{ . | quote }}
    readOnly: true
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "multiarch.volumeMounts" -}}
{{- if include "multiarch.caSource" . }}
- name: ca
  mountPath: /etc/multiarch/ca
  readOnly: true
{{- end }}
{{- if include "multiarch.providersConfigMap" . }}
- name: credential-providers
  mountPath: /etc/multiarch/credential-providers
  readOnly: true
{{- end }}
{{- if .Values.archives.existingClaim }}
- name: archives
  mountPath: /etc/multiarch/archives
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where and as whom a Pod runs. */}}
{{- define "multiarch.podSpec" -}}
serviceAccountName: {{ include "multiarch.serviceAccountName" . | quote }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.initContainers }}
initContainers:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with include "multiarch.volumes" . | trim }}
volumes:
{{- . | nindent 0 }}
{{- end }}
{{- end }}

{{/* The operator's image, and what it runs with. */}}
{{- define "multiarch.container" -}}
{{- $root := .root -}}
image: {{ include "multiarch.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy | quote }}
{{- with include "multiarch.env" $root | trim }}
env:
{{- . | nindent 0 }}
{{- end }}
{{- with $root.Values.extraEnvFrom }}
envFrom:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with $root.Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "multiarch.volumeMounts" $root | trim }}
volumeMounts:
{{- . | nindent 0 }}
{{- end }}
{{- end }}
