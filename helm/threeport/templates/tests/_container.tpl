{{- /* Whether the account of workloads may have been granted nothing, so that the test brings what its workload needs. */ -}}
{{- define "threeport.testGrants" -}}
{{- if not (and .Values.rbac.create .Values.workloads.clusterAdmin) }}true{{ end }}
{{- end }}

{{- /* Whether the test keeps to the release's namespace: it has rights, or the Secrets that images are pulled with, only there. */ -}}
{{- define "threeport.testStays" -}}
{{- if or (include "threeport.testGrants" .) .Values.image.pullSecrets }}true{{ end }}
{{- end }}

{{- define "threeport.testContainer" -}}
image: {{ include "threeport.image" (dict "root" . "name" "cli") }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: THREEPORT_SERVER, value: {{ include "threeport.apiUrl" . | quote }}}
  - {name: THREEPORT_CA_FILE, value: /etc/threeport/ca/ca.crt}
  - {name: THREEPORT_TOKEN_FILE, value: /etc/threeport/admin/token}
  - {name: THREEPORT_NAMESPACE, value: {{ .Release.Namespace | quote }}}
securityContext:
  {{- include "threeport.containerSecurity" . | nindent 2 }}
resources:
  requests: {cpu: 20m, memory: 32Mi}
  limits: {cpu: "1", memory: 128Mi}
volumeMounts:
  - {name: ca, mountPath: /etc/threeport/ca, readOnly: true}
  - {name: admin, mountPath: /etc/threeport/admin, readOnly: true}
  - {name: test, mountPath: /etc/threeport/test, readOnly: true}
{{- end }}
