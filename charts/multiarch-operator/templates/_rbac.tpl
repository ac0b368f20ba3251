{{/* What the operator may do, and nothing else: in a ClusterRole, or in a Role of each namespace. */}}
{{- define "multiarch.rules" -}}
# Users own the objects: they are read, and those of users never created or deleted. patch is for metadata.finalizers alone, which objects with
# deletionPolicy: Delete have; without it, only those do not work.
- apiGroups: [multiarch.dev]
  resources: [multiarchimages]
  verbs: [get, list, watch, patch]
{{- if .Values.sets.enabled }}
# Of a set, each image of its list is an object that the set owns.
- apiGroups: [multiarch.dev]
  resources: [multiarchimages]
  verbs: [create, delete]
- apiGroups: [multiarch.dev]
  resources: [multiarchimagesets]
  verbs: [get, list, watch]
- apiGroups: [multiarch.dev]
  resources: [multiarchimagesets/status]
  verbs: [patch]
# The lists that sets name, one by one, each in the set's own namespace.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end }}
# What is reported about them is applied server-side.
- apiGroups: [multiarch.dev]
  resources: [multiarchimages/status]
  verbs: [patch]
{{- if eq .Values.rbac.secrets "Cluster" }}
{{ include "multiarch.secretRules" . }}
{{- end }}
# The Secrets that a ServiceAccount pulls with, where an object names it.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
# Whether the namespace of an object that is deleted goes too; then nothing waits for a registry.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "multiarch.secretRules" -}}
# The registry credentials that an object names, one by one, in its own namespace. Without list and watch the operator never
# holds the Secrets that no object names.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}

{{- define "multiarch.subjects" -}}
- kind: ServiceAccount
  name: {{ include "multiarch.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* The head of an object of rbac.authorization.k8s.io: a dict with `root`, `kind`, `name` and, where it is in one, `namespace`, and `more` labels. */}}
{{- define "multiarch.rbacHead" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name | quote }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "multiarch.labels" (dict "root" .root "more" .more) | nindent 4 }}
{{- end }}

{{/* Binds the operator to a role of `kind` and `name`: a dict as above, with `binding` for the kind of the binding. */}}
{{- define "multiarch.binding" -}}
{{ include "multiarch.rbacHead" (dict "root" .root "kind" .binding "name" .name "namespace" .namespace) }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name | quote }}
subjects:
{{ include "multiarch.subjects" .root }}
{{- end }}
