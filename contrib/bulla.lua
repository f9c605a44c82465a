-- Asks Bulla whether a request may pass. Uses the HTTP client of HAProxy 2.5 or newer.

-- The headers of Bulla's answer that the app gets instead of those of the client.
local copied = { "cookie", "remote-user", "remote-groups", "remote-name", "remote-email", "remote-session" }

-- The headers that describe the body or the connection of the client's request.
local dropped = {
  ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["keep-alive"] = true, ["te"] = true,
  ["transfer-encoding"] = true, ["upgrade"] = true, ["x-original-method"] = true, ["x-original-uri"] = true,
  ["x-forwarded-method"] = true, ["x-forwarded-uri"] = true, ["x-forwarded-host"] = true,
}

core.register_action("bulla", { "http-req" }, function(txn, address)
  local headers = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    if not dropped[name] then
      headers[name] = {}
      for _, value in pairs(values) do table.insert(headers[name], value) end
    end
  end
  local host = headers["host"] and headers["host"][1] or ""
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-host"] = { host }
  local answer = core.httpclient():get({ url = address, headers = headers, timeout = 5000 })
  txn:set_var("txn.bulla_status", answer and answer.status or 503)
  if not answer or not answer.headers then return end
  if answer.status == 302 then
    txn:set_var("txn.bulla_location", answer.headers["location"][0] or answer.headers["location"][1])
  elseif answer.status == 200 then
    for _, name in ipairs(copied) do
      local values = answer.headers[name]
      local value = values and (values[0] or values[1]) or ""
      if value == "" then txn.http:req_del_header(name) else txn.http:req_set_header(name, value) end
    end
  end
end, 1)
