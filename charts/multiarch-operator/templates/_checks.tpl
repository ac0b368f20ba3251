{{/* What values.schema.json cannot say. Each failure says what to do. */}}
{{- define "multiarch.checks" -}}
{{- $v := .Values -}}
{{- if and (eq $v.rbac.scope "Namespaced") (not $v.watchNamespaces) }}
{{- fail "rbac.scope is Namespaced: list the namespaces that the operator works in as watchNamespaces" }}
{{- end }}
{{- if and $v.rbac.secretNamespaces (ne $v.rbac.secrets "PerNamespace") }}
{{- fail "rbac.secretNamespaces has no effect with rbac.secrets: Cluster; set rbac.secrets to PerNamespace" }}
{{- end }}
{{- if and (not $v.leaderElection.enabled) (not (has (include "multiarch.replicas" .) (list "0" "1"))) }}
{{- fail "without leaderElection.enabled several replicas would do the same work: set replicaCount to 1" }}
{{- end }}
{{- if and $v.watchNamespaces (eq $v.rbac.secrets "PerNamespace") }}
{{- range $v.rbac.secretNamespaces }}
{{- if not (has . $v.watchNamespaces) }}
{{- fail (printf "rbac.secretNamespaces has %s, which is not among watchNamespaces: no object of it is seen; list it in both, or in neither" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $v.rbac.create (not $v.serviceAccount.create) (not $v.serviceAccount.name) }}
{{- fail "serviceAccount.create is false, and rbac.create is true: name the ServiceAccount that is given the rights as serviceAccount.name, `default` if you mean it" }}
{{- end }}
{{- with $v.strategy.rollingUpdate }}
{{- if and (eq $v.strategy.type "RollingUpdate") (has (toString .maxSurge) (list "0" "0%")) (has (toString .maxUnavailable) (list "0" "0%")) }}
{{- fail "strategy.rollingUpdate: with maxSurge and maxUnavailable both 0 nothing could ever be replaced; set one of them to 1" }}
{{- end }}
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
{{- if and $v.archives.shared (not $v.archives.existingClaim) }}
{{- fail "archives.shared needs archives.existingClaim: there are no archives; those of another volume are shared by extraArgs: [--archive-dir-shared]" }}
{{- end }}
{{- if and $v.metrics.serviceMonitor.enabled (not $v.metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled; without a Service there is metrics.podMonitor.enabled" }}
{{- end }}
{{- if and $v.networkPolicy.extraEgress (ne $v.networkPolicy.egress "Restricted") }}
{{- fail "networkPolicy.extraEgress has no effect with networkPolicy.egress: All; set networkPolicy.egress to Restricted" }}
{{- end }}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled }}
{{- fail "metrics: set one of serviceMonitor.enabled and podMonitor.enabled, or everything is scraped twice" }}
{{- end }}
{{- end }}
