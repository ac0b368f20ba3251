{{/* What the policies of admission share. Nothing in their CEL is made of values. */}}

{{/* A policy or a binding is of the cluster, as a ClusterRole is: a dict with `root`, `policy` and, of a binding, `of`. */}}
{{- define "multiarch.admissionName" -}}
{{ include "multiarch.fullname" .root }}-{{ .policy }}{{ with .of }}-{{ . }}{{ end }}.multiarch.dev
{{- end }}

{{/* The resources of a binding: what is created, and what is changed. */}}
{{- define "multiarch.admissionRules" -}}
{{- if eq . "pods" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [pods, pods/ephemeralcontainers]
{{- else -}}
- apiGroups: [apps]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [deployments, statefulsets, daemonsets]
- apiGroups: [batch]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [jobs, cronjobs]
{{- end }}
{{- end }}

{{/* Where a policy looks: a dict with `root`. Here and not in the bindings, so that what goes wrong with a policy is nothing to other namespaces. */}}
{{- define "multiarch.admissionMatch" -}}
{{- $root := .root -}}
{{- $selector := $root.Values.admission.namespaceSelector -}}
namespaceSelector:
  {{- with $selector.matchLabels }}
  matchLabels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
    {{- range list "kube-system" "kube-public" "kube-node-lease" $root.Release.Namespace (include "multiarch.leaseNamespace" $root) | uniq }}
    - {{ . | quote }}
    {{- end }}
  {{- with $selector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resourceRules:
{{ include "multiarch.admissionRules" "pods" }}
{{- if ne $root.Values.admission.workloads "Off" }}
{{ include "multiarch.admissionRules" "workloads" }}
{{- end }}
{{- end }}

{{/* The images that a request brings in, and the keys under which maps have them. Pods that are deleted, mirrors of static Pods, and images that were
     there before bring none, so that finalizers come off and labels go on; in variables, since a match condition would have the maps converted once more. */}}
{{- define "multiarch.admissionImages" -}}
# What the Pods are made of: as it is asked for, and as it was.
- name: specs
  expression: >-
    ([dyn(object)] + (oldObject == null ? [] : [dyn(oldObject)])).map(o,
      object.kind == 'Pod' ? o.spec : object.kind == 'CronJob' ? o.spec.jobTemplate.spec.template.spec : o.spec.template.spec)
# Name of the container or volume, image.
- name: written
  expression: >-
    variables.specs.map(s,
      s.containers.map(c, [string(c.name), string(c.?image.orValue(''))])
      + s.?initContainers.orValue([]).map(c, [string(c.name), string(c.?image.orValue(''))])
      + s.?ephemeralContainers.orValue([]).map(c, [string(c.name), string(c.?image.orValue(''))])
      + s.?volumes.orValue([]).map(v, ['volume ' + v.name, string(v.?image.?reference.orValue(''))]))
# System, architectures that they say they run on. Two labels of one node: what nodeSelector says is all that an affinity leaves.
- name: selected
  expression: >-
    variables.specs.map(s, [
      [string(s.?os.?name.orValue(s.?nodeSelector[?'kubernetes.io/os'].orValue('')))],
      s.?nodeSelector[?'kubernetes.io/arch'].optMap(a, [string(a)]).orValue(
        s.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])
        .map(t, t.?matchExpressions.orValue([]).filter(e, e.key == 'kubernetes.io/arch' && e.operator == 'In').map(e, e.values.join(',')).join(','))
        .filter(t, t != '').join(',').split(',').filter(a, a != ''))])
# Images that are not new. All are to what shall run elsewhere than before; Pods cannot be changed so.
- name: before
  expression: >-
    size(variables.specs) == 1 || (object.kind != 'Pod' && variables.selected[0] != variables.selected[1])
    ? [] : variables.written[1].map(i, i[1])
# Each once, of the first that has it, in Pods of a few: who compares each with each of hundreds is over what the API server lets an expression cost.
- name: images
  expression: >-
    has(dyn(object).metadata.deletionTimestamp)
      || (object.kind == 'Pod' && 'kubernetes.io/config.mirror' in dyn(object).metadata.?annotations.orValue({}))
    ? [] : variables.written[0].filter(i, i[1] != '' && !(i[1] in variables.before)
      && (size(variables.written[0]) > 32 || variables.written[0].filter(o, o[1] == i[1])[0][0] == i[0])).map(i, i[1])
# As written, name and tag, digest.
- name: named
  expression: >-
    variables.images.map(i, i.split('@', 2)).map(i, [i.join('@'), i[0], size(i) == 2 ? i[1] : ''])
# As written, host, path and tag, digest: in the one spelling that the operator has, too.
- name: hosted
  expression: >-
    variables.named.map(i, i[1].matches('^(localhost|[^/]*[.:A-Z][^/]*)/')
      ? [i[0], i[1].split('/', 2)[0].lowerAscii(), i[1].split('/', 2)[1], i[2]]
      : [i[0], 'docker.io', i[1], i[2]])
    .map(i, i[1].matches('^((index|registry-1)[.])?docker[.]io(:0*443)?$')
      ? [i[0], 'docker.io', i[2].contains('/') ? i[2] : 'library/' + i[2], i[3]]
      : [i[0], i[1].matches(r'^(localhost|.*[.\]].*):0*443$') ? i[1].substring(0, i[1].lastIndexOf(':')) : i[1], i[2], i[3]])
# As written, key, the digest that a tag is pinned to. A tag is asked for by its name, also where it is pinned: its entry knows its digests,
# and that of the digest may be in another map, which is asked alone.
- name: asked
  expression: >-
    variables.hosted.map(i, i[2].contains(':') || i[3] == ''
      ? [i[0], i[1] + '/' + (i[2].contains(':') ? i[2] : i[2] + ':latest'), i[3]]
      : [i[0], i[1] + '/' + i[2] + '@' + i[3], ''])
    .map(i, [i[0], i[1].replace('_', '__').replace('/', '_s').replace(':', '_c').replace('@', '_a').replace('[', '_l').replace(']', '_r'), i[2]])
- name: data
  expression: dyn(params).?data.orValue({})
{{- end }}

{{/* A policy with its bindings: a dict with `root`, `policy`, `variables`, and the `validation`. */}}
{{- define "multiarch.admissionPolicy" -}}
{{- $root := .root -}}
{{- $values := .root.Values.admission -}}
{{- $policy := include "multiarch.admissionName" (dict "root" $root "policy" .policy) -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $policy | quote }}
  labels:
    {{- include "multiarch.labels" (dict "root" $root) | nindent 4 }}
spec:
  failurePolicy: {{ $values.failurePolicy | quote }}
  paramKind:
    apiVersion: v1
    kind: ConfigMap
  matchConstraints:
    {{- include "multiarch.admissionMatch" (dict "root" $root) | nindent 4 }}
  variables:
  {{- include "multiarch.admissionImages" . | nindent 2 }}
  {{- .variables | nindent 2 }}
  validations:
  {{- .validation | nindent 2 }}
{{- range $of, $action := dict "pods" $values.pods "workloads" $values.workloads }}
{{- if ne $action "Off" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "multiarch.admissionName" (dict "root" $root "policy" $.policy "of" $of) | quote }}
  labels:
    {{- include "multiarch.labels" (dict "root" $root) | nindent 4 }}
spec:
  policyName: {{ $policy | quote }}
  validationActions:
  {{- range list $action "Audit" | uniq }}
  - {{ . | quote }}
  {{- end }}
  # Each map is asked by itself, and all must pass. Where there is none yet, so that the operator itself may start, nothing is refused.
  paramRef:
    namespace: {{ include "multiarch.leaseNamespace" $root | quote }}
    selector:
      matchLabels:
        multiarch.dev/coverage: "true"
    parameterNotFoundAction: Allow
  matchResources:
    resourceRules:
    {{- include "multiarch.admissionRules" $of | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}
