{{- /* Names. Everything that is not in the namespace carries the namespace, so that releases don't meet. */ -}}
{{- define "threeport.prefix" -}}
{{- if gt (len .Release.Name) 40 }}{{ fail (printf "the release name %q is longer than 40 characters: names of its objects would not fit" .Release.Name) }}{{ end -}}
{{ .Release.Name }}
{{- end }}

{{- /* Joined by what no namespace can hold: with a hyphen `b-x` of namespace `a` would be `x` of `a-b`. For roles and their
       bindings, whose names may hold it. */ -}}
{{- define "threeport.clusterPrefix" -}}
{{ .Release.Namespace }}.{{ include "threeport.prefix" . }}
{{- end }}

{{- define "threeport.image" -}}
{{ .root.Values.image.registry }}/threeport-{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "threeport.natsImage" -}}
{{ .Values.nats.image.reference | default (printf "%s/threeport-nats:%s" .Values.image.registry .Values.nats.image.version) }}
{{- end }}

{{- define "threeport.apiUrl" -}}
https://{{ include "threeport.prefix" . }}-api.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "threeport.natsUrl" -}}
tls://{{ include "threeport.prefix" . }}-nats.{{ .Release.Namespace }}.svc:4222
{{- end }}

{{- /* Labels. Those of pods carry no version: an upgrade of the chart alone restarts nothing. */ -}}
{{- define "threeport.selector" -}}
app.kubernetes.io/name: threeport
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "threeport.podLabels" -}}
{{ include "threeport.selector" . }}
{{- with .root.Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "threeport.labels" -}}
{{ include "threeport.podLabels" . }}
app.kubernetes.io/part-of: threeport
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- /* Security: the restricted Pod Security standard, and a root file system that can't be written. */ -}}
{{- define "threeport.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "threeport.containerSecurity" -}}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "threeport.pullSecrets" -}}
{{- $secrets := list }}
{{- range .Values.image.pullSecrets }}{{ $secrets = append $secrets (dict "name" .) }}{{ end }}
{{- $secrets | toJson }}
{{- end }}

{{- /* Every Threeport process answers the same probes on its port `probes`. */ -}}
{{- define "threeport.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 2
  timeoutSeconds: 5
{{- end }}

{{- /* How a component that calls the API knows it and proves who it is. */ -}}
{{- define "threeport.clientEnvironment" -}}
- {name: THREEPORT_API_URL, value: {{ include "threeport.apiUrl" . | quote }}}
- {name: THREEPORT_API_CA, value: /etc/threeport/ca/ca.crt}
- {name: THREEPORT_TOKEN_FILE, value: /var/run/secrets/threeport/token}
- {name: THREEPORT_NAMESPACE, value: {{ .Release.Namespace | quote }}}
{{- end }}

{{- define "threeport.clientMounts" -}}
- {name: ca, mountPath: /etc/threeport/ca, readOnly: true}
- {name: token, mountPath: /var/run/secrets/threeport, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "threeport.clientVolumes" -}}
- name: ca
  configMap: {name: {{ include "threeport.prefix" . }}-ca}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {audience: threeport, expirationSeconds: 3600, path: token}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- end }}
