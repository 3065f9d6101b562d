{{/* The names under which the service is reached: requests for any other are refused. */}}
{{- define "axo.hosts" -}}
{{- $name := include "axo.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $hosts := list $name (printf "%s.%s" $name $namespace) (printf "%s.%s.svc" $name $namespace) -}}
{{- if .Values.ingress.enabled }}{{ $hosts = append $hosts .Values.ingress.host }}{{ end -}}
{{- if .Values.httpRoute.enabled }}{{ $hosts = concat $hosts .Values.httpRoute.hostnames }}{{ end -}}
{{- concat $hosts (dig "access" "hosts" list .Values.settings) | uniq | toJson -}}
{{- end -}}

{{/* The settings file: the operator's words, and over them what the chart knows itself. */}}
{{- define "axo.settings" -}}
{{- $kubernetes := dict
  "namespace" .Values.training.namespace
  "service_image" (include "axo.image" .Values.image)
  "trainer_image" (include "axo.image" .Values.trainerImage) -}}
{{- if not .Values.storage.bucket }}{{ $_ := set $kubernetes "storage_claim" .Values.storage.claim }}{{ end -}}
{{- with .Values.training.secrets }}{{ $_ := set $kubernetes "secrets" . }}{{ end -}}
{{- if .Values.training.job }}{{ $_ := set $kubernetes "job" "job.yaml" }}{{ end -}}
{{- $access := dict "required" true "hosts" (include "axo.hosts" . | fromJsonArray) -}}
{{- if .Values.metrics.enabled }}{{ $_ := set $access "metrics" "0.0.0.0:8521" }}{{ end -}}
{{- $ours := dict "backend" "kubernetes" "kubernetes" $kubernetes "access" $access -}}
{{- if and .Values.reports (not (hasKey .Values.settings "reports")) -}}
{{- $url := printf "http://%s.%s.svc:8520" (include "axo.fullname" .) .Release.Namespace -}}
{{- $_ := set $ours "reports" (dict "url" $url) -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .Values.settings) $ours | toYaml -}}
{{- end -}}
