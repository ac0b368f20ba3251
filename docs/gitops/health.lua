-- Argo CD's health of a MultiArchImage, and of a MultiArchImageSet. Its status follows kstatus: Stalled is for people, all else that is not Ready goes on by itself.
local hs = {}
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  hs.status = "Progressing"
  hs.message = "Waiting for the operator to look at this spec"
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready or {}
hs.message = (ready.reason or "") .. ": " .. (ready.message or "")

if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  hs.status = "Degraded"
elseif obj.spec.suspend == true then
  hs.status = "Suspended"
elseif conditions.Reconciling ~= nil and conditions.Reconciling.status == "True" then
  hs.status = "Progressing"
  hs.message = conditions.Reconciling.reason .. ": " .. conditions.Reconciling.message
elseif ready.status == "True" then
  hs.status = "Healthy"
else
  hs.status = "Progressing"
end
return hs
