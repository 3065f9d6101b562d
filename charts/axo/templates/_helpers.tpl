{{/* The name of what the release makes: its own, with `axo` in it. */}}
{{- define "axo.fullname" -}}
{{- if contains "axo" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-axo" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What everything carries. */}}
{{- define "axo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/part-of: axo
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What finds the service's pods. */}}
{{- define "axo.selector" -}}
app.kubernetes.io/name: axo
app.kubernetes.io/component: service
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* An image by its digest. */}}
{{- define "axo.image" -}}
{{ .repository }}@{{ .digest }}
{{- end -}}

{{- define "axo.homeClaim" -}}
{{ .Values.home.existingClaim | default (printf "%s-home" (include "axo.fullname" .)) }}
{{- end -}}

{{/* The subjects of a RoleBinding: the service. */}}
{{- define "axo.subjects" -}}
subjects:
  - {kind: ServiceAccount, name: {{ include "axo.fullname" . }}, namespace: {{ .Release.Namespace }}}
{{- end -}}

{{/* Refuse what the schema cannot see: values that do not go together. */}}
{{- define "axo.check" -}}
{{- if eq .Values.training.namespace .Release.Namespace }}
{{- fail (printf "training.namespace is %s, where the service is installed: whoever may make Jobs in a namespace can mount every Secret of it, so name another one" .Release.Namespace) }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not .Values.database.secret) }}
{{- fail (printf "replicas is %d, and a file of SQLite can have one: let database.secret name a Secret with the URL of a PostgreSQL" (int .Values.replicas)) }}
{{- end }}
{{- if and .Values.storage.bucket .Values.storage.volume }}
{{- fail "storage.bucket and storage.volume are both set: storage is the one or the other" }}
{{- end }}
{{- if and .Values.network.bucketCidrs (not .Values.storage.bucket) }}
{{- fail "network.bucketCidrs is set, and storage.bucket is not: launches would reach what they do not need" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.enabled wants ingress.host, the name that clients use" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not (and .Values.httpRoute.hostnames .Values.httpRoute.parentRefs)) }}
{{- fail "httpRoute.enabled wants httpRoute.hostnames, the names that clients use, and httpRoute.parentRefs, the gateways" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) }}
{{- fail "metrics.serviceMonitor.enabled wants metrics.enabled: there would be nothing to read" }}
{{- end }}
{{- end -}}

{{- define "axo.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Secrets that launches may mount: those of specs, and what opens the bucket, which may be one for each project. */}}
{{- define "axo.allowedSecrets" -}}
{{- $opens := regexFind "//[^/@]+@" .Values.storage.bucket | trimPrefix "//" | trimSuffix "@" -}}
{{- $names := .Values.training.secrets -}}
{{- if contains "{project}" $opens -}}
{{- $pattern := regexQuoteMeta $opens | replace (regexQuoteMeta "{project}") "[a-z0-9-]+" | printf "^%s$" -}}
{{- range .Values.secrets }}{{ if regexMatch $pattern . }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- else if $opens }}{{ $names = append $names $opens }}{{ end -}}
{{- uniq $names | join " " -}}
{{- end -}}
