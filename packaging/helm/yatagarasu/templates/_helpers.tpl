{{/* The name of all objects of a release. */}}
{{- define "yatagarasu.name" -}}
{{- if contains "yatagarasu" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-yatagarasu" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods. It must not change over the life of a release. */}}
{{- define "yatagarasu.selector" -}}
app.kubernetes.io/name: yatagarasu
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "yatagarasu.labels" -}}
{{ include "yatagarasu.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "yatagarasu.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* The port of an address. */}}
{{- define "yatagarasu.port" -}}
{{ splitList ":" . | last }}
{{- end -}}

{{/* The security of a container. The user is the image's. */}}
{{- define "yatagarasu.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: ["ALL"]
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
