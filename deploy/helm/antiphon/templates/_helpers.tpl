{{- define "antiphon.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* Labels that pods are selected by. Argument: (list . component) */}}
{{- define "antiphon.selector" -}}
app.kubernetes.io/name: antiphon
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "antiphon.labels" -}}
{{ include "antiphon.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* Argument: (list . service) */}}
{{- define "antiphon.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- with $image.registry }}{{ . | trimSuffix "/" }}/{{ end }}antiphon-{{ index . 1 }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}

{{- define "antiphon.natsUrl" -}}
{{- if .Values.nats.enabled -}}nats://{{ include "antiphon.fullname" . }}-nats.{{ .Release.Namespace }}:4222
{{- else -}}{{ required "nats.url: the address of your NATS server, or nats.enabled: true" .Values.nats.url }}
{{- end -}}
{{- end -}}

{{/* Users of NATS that this installation needs: what the job is given. */}}
{{- define "antiphon.userArguments" -}}
- --relay
- "*"
- --cluster
- {{ .Values.region.cluster | quote }}
- --bridge
- {{ .Values.bridge.agentName | quote }}
{{- range include "antiphon.agentUsers" . | fromYamlArray }}
- --{{ .role | replace "_" "-" }}
- {{ .name | quote }}
{{- end }}
{{- end -}}

{{/* Agents, each with its role on NATS: those that this chart runs, and those that are only given a credential. */}}
{{- define "antiphon.agentUsers" -}}
{{- $found := list -}}
{{- range .Values.credentials.agents }}{{ $found = append $found (dict "role" "agent" "name" .) }}{{ end -}}
{{- range .Values.credentials.textAgents }}{{ $found = append $found (dict "role" "text_agent" "name" .) }}{{ end -}}
{{- range .Values.agents }}{{ $found = append $found (dict "role" (include "antiphon.agentRole" .) "name" .name) }}{{ end -}}
{{- if include "antiphon.clinic" . }}{{ $found = append $found (dict "role" "text_agent" "name" "concierge") }}{{ end -}}
{{- $found | uniq | toYaml -}}
{{- end -}}

{{- define "antiphon.agentRole" -}}
{{- if eq (.kind | default "text") "audio" }}agent{{ else }}text_agent{{ end -}}
{{- end -}}

{{/* Not empty: the demo clinic is to run. A bridge with a language model of its name goes before it. */}}
{{- define "antiphon.clinic" -}}
{{- if and .Values.clinic.enabled (not (and .Values.bridge.llm.url (eq .Values.bridge.agentName "concierge"))) }}yes{{ end -}}
{{- end -}}

{{- define "antiphon.transceiverUser" -}}
transceiver{{ with int .Values.region.cluster }}-{{ . }}{{ end }}
{{- end -}}

{{/* The end of the name of a user's Secret, as the job makes it. */}}
{{- define "antiphon.secretOf" -}}
{{ include "antiphon.fullname" (index . 0) }}-nats-{{ index . 1 | lower | replace "_" "-" }}
{{- end -}}

{{/* What no container of ours lacks. */}}
{{- define "antiphon.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* The pod's settings. Argument: (list . component values). The watcher of the event loop ends a process that stands
     still, which it can't if that is the first process of its namespace: hence shareProcessNamespace. */}}
{{- define "antiphon.podSettings" -}}
{{- $ := index . 0 -}}
{{- $values := index . 2 -}}
automountServiceAccountToken: false
enableServiceLinks: false
shareProcessNamespace: true
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with $.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "antiphon.spread" -}}
{{- $selector := include "antiphon.selector" . | fromYaml | toJson -}}
topologySpreadConstraints:
{{- range (index . 0).Values.spread }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: {{ $selector }} }
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}

{{- define "antiphon.podMetadata" -}}
labels:
  {{- include "antiphon.labels" . | nindent 2 }}
  {{- with (index . 0).Values.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  {{- if (index . 0).Values.metrics.annotations }}
  prometheus.io/scrape: "true"
  prometheus.io/port: "9400"
  {{- end }}
  {{- with (index . 0).Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{/* Variables of all services. Argument: (list . values) */}}
{{- define "antiphon.env" -}}
{{- $ := index . 0 -}}
- name: ANTIPHON_NATS_URL
  value: {{ include "antiphon.natsUrl" $ | quote }}
- name: ANTIPHON_NATS_CREDENTIALS
  value: /secrets/nats/nkey
{{- with $.Values.nats.caSecret }}
- name: ANTIPHON_NATS_TLS_CA
  value: /secrets/nats-ca/ca.crt
{{- end }}
- name: ANTIPHON_LOG_LEVEL
  value: {{ $.Values.logLevel }}
- name: ANTIPHON_LOG_FORMAT
  value: json
{{- if not (index . 1).hostNetwork }}
- name: ANTIPHON_METRICS_BIND
  value: 0.0.0.0:9400
{{- end }}
{{- with $.Values.telemetry.endpoint }}
- name: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
  value: {{ . | trimSuffix "/" }}/v1/traces
{{- end }}
{{- range $name, $value := (index . 1).env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Variables for the hub. Argument: (list . secret) */}}
{{- define "antiphon.hubEnv" -}}
{{- $hub := (index . 0).Values.hub -}}
{{- if $hub.url }}
- name: ANTIPHON_HUB_NATS_URL
  value: {{ $hub.url | quote }}
- name: ANTIPHON_HUB_REPLICAS
  value: {{ $hub.replicas | quote }}
- name: ANTIPHON_HUB_NATS_CREDENTIALS
  value: /secrets/hub/nkey
{{- with $hub.caSecret }}
- name: ANTIPHON_HUB_NATS_TLS_CA
  value: /secrets/hub-ca/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* Argument: (list . user) */}}
{{- define "antiphon.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
- name: nats
  secret: { secretName: {{ include "antiphon.secretOf" . }}, defaultMode: 0400 }
{{- with (index . 0).Values.nats.caSecret }}
- name: nats-ca
  secret: { secretName: {{ . }}, defaultMode: 0400 }
{{- end }}
{{- end -}}

{{- define "antiphon.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: nats, mountPath: /secrets/nats, readOnly: true }
{{- if .Values.nats.caSecret }}
- { name: nats-ca, mountPath: /secrets/nats-ca, readOnly: true }
{{- end }}
{{- end -}}

{{- define "antiphon.hubVolumes" -}}
{{- $hub := (index . 0).Values.hub -}}
{{- if $hub.url }}
- name: hub
  secret: { secretName: {{ required "hub.url needs hub.relayCredentials and hub.transceiverCredentials" (index . 1) }}, defaultMode: 0400 }
{{- with $hub.caSecret }}
- name: hub-ca
  secret: { secretName: {{ . }}, defaultMode: 0400 }
{{- end }}
{{- end }}
{{- end -}}

{{- define "antiphon.hubMounts" -}}
{{- if .Values.hub.url }}
- { name: hub, mountPath: /secrets/hub, readOnly: true }
{{- if .Values.hub.caSecret }}
- { name: hub-ca, mountPath: /secrets/hub-ca, readOnly: true }
{{- end }}
{{- end }}
{{- end -}}

{{/* A process that answers nothing for 5 s stands still. It is not ready the second after it was told to end. */}}
{{- define "antiphon.probes" -}}
startupProbe:
  httpGet: { path: /livez, port: 9400 }
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 300
livenessProbe:
  httpGet: { path: /livez, port: 9400 }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 1
readinessProbe:
  httpGet: { path: /readyz, port: 9400 }
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 1
{{- end -}}
