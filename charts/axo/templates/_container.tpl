{{/* What the service and its migration have in common: image, environment, rights, volumes. */}}
{{- define "axo.container" -}}
image: {{ include "axo.image" .Values.image }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: AXO_SETTINGS, value: /etc/axo/settings.yaml}
  - {name: AXO_HOME, value: /data}
  - {name: HOME, value: /data}
  - {name: AXO_STORAGE, value: {{ .Values.storage.bucket | default "/storage" | quote }}}  # launches mount a volume at this path too
  {{- with .Values.mlflow.uri }}
  - {name: AXO_MLFLOW_URI, value: {{ . | quote }}}
  {{- end }}
  {{- with .Values.database.secret }}
  - name: AXO_DATABASE
    valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.database.key }}}}
  - {name: AXO_DATABASE_CONNECTIONS, value: {{ $.Values.database.connections | quote }}}
  {{- end }}
  {{- if .Values.secrets }}
  - {name: AXO_SECRETS, value: /secrets}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: settings, mountPath: /etc/axo}
  - {name: home, mountPath: /data}
  {{- if not .Values.storage.bucket }}
  - {name: storage, mountPath: /storage}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
  {{- range .Values.secrets }}
  - {name: secret-{{ . }}, mountPath: /secrets/{{ . }}, readOnly: true}
  {{- end }}
  {{- with .Values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
