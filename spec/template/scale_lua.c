/*** Each channel times a factor, z = y·exp(s).
@function scale
@int channels C
@return a flow layer on N×C×H×W with the parameter `logs` */
static int new_scale(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 1, FLOW_SIZE_MAX);
  Scale *s = flow_layer_new(L, &flow_scale, sizeof *s, c);
  s->logs = flow_add_param(L, "logs", 1, &c);
  return 1;
}
