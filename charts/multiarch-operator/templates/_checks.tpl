{{/* What values.schema.json cannot say. Each failure says what to do. */}}
{{- define "multiarch.checks" -}}
{{- $v := .Values -}}
{{- if and (eq $v.rbac.scope "Namespaced") (not $v.watchNamespaces) }}
{{- fail "rbac.scope is Namespaced: list the namespaces that the operator works in as watchNamespaces" }}
{{- end }}
{{- if and $v.rbac.secretNamespaces (ne $v.rbac.secrets "PerNamespace") }}
{{- fail "rbac.secretNamespaces has no effect with rbac.secrets: Cluster; set rbac.secrets to PerNamespace" }}
{{- end }}
{{- if and (not $v.leaderElection.enabled) (or (eq $v.replicaCount nil) (gt (int $v.replicaCount) 1)) }}
{{- fail "without leaderElection.enabled several replicas would do the same work: set replicaCount to 1" }}
{{- end }}
{{- with $v.leaderElection }}
{{- if not (and (gt (int .leaseDurationSeconds) (int .renewDeadlineSeconds)) (gt (int .renewDeadlineSeconds) (int .retryPeriodSeconds))) }}
{{- fail "leaderElection: leaseDurationSeconds is to be longer than renewDeadlineSeconds, and that longer than retryPeriodSeconds" }}
{{- end }}
{{- end }}
{{- if le (int $v.terminationGracePeriodSeconds) (int $v.shutdownGraceSeconds) }}
{{- fail "terminationGracePeriodSeconds is to be longer than shutdownGraceSeconds, by some ten seconds" }}
{{- end }}
{{- if gt (len (compact (list $v.caBundle.existingSecret.name $v.caBundle.existingConfigMap.name $v.caBundle.inline))) 1 }}
{{- fail "caBundle: set one of existingSecret.name, existingConfigMap.name and inline" }}
{{- end }}
{{- if and $v.credentialProviders.config $v.credentialProviders.existingConfigMap }}
{{- fail "credentialProviders: set one of config and existingConfigMap" }}
{{- end }}
{{- if and $v.credentialProviders.allow (not (include "multiarch.providersConfigMap" .)) }}
{{- fail "credentialProviders.allow needs credentialProviders.config or existingConfigMap: there is no plugin to run" }}
{{- end }}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled }}
{{- fail "metrics: set one of serviceMonitor.enabled and podMonitor.enabled, or everything is scraped twice" }}
{{- end }}
{{- end }}
