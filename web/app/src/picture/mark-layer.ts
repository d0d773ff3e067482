/**
 * deck.gl layer that draws thousands of icons as one mesh. deck.gl's IconLayer uses instancing, which is slow on a
 * software renderer (SwiftShader): 10,000 icons take 0.1 s per frame.
 */

import { color, type DefaultProps, Layer, type LayerProps, project32, type UpdateParameters } from '@deck.gl/core';
import type { Texture } from '@luma.gl/core';
import { Model } from '@luma.gl/engine';
import type { Atlas } from './atlas';
import type { Marks } from './drawing';
import { atCorners, CORNERS, cornersOf, textureCoordinatesOf } from './mesh';

export interface MarkLayerProps {
  marks: Marks;
  atlas: Atlas;
  /** Image of the atlas; deck.gl converts it to a texture. */
  image: unknown;
  /** Height of a mark (radii). */
  scale: number;
  /** Minimum height (px). */
  least: number;
}

const uniforms = `\
layout(std140) uniform markUniforms {
  float scale;
  float least;
} mark;
`;
const markUniforms = {
  name: 'mark',
  vs: uniforms,
  uniformTypes: { scale: 'f32', least: 'f32' },
} as const;

const vs = `\
#version 300 es
#define SHADER_NAME mark-layer-vertex-shader

in vec3 circles;
in vec2 corners;
in vec2 imageCoordinates;
in vec4 colours;
out vec2 vCorner;
out vec2 vImageCoordinate;
out vec4 vColour;

void main(void) {
  // The z component of circles is the radius.
  vec3 middle = vec3(circles.xy, 0.0);
  geometry.worldPosition = middle;
  geometry.uv = imageCoordinates;
  float height = max(project_size_to_pixel(circles.z * mark.scale, UNIT_COMMON), mark.least);
  gl_Position = project_position_to_clipspace(middle, vec3(0.0), vec3(0.0), geometry.position);
  DECKGL_FILTER_GL_POSITION(gl_Position, geometry);
  // y points down in corners and up in clip space.
  gl_Position.xy += project_pixel_size_to_clipspace(corners * vec2(1.0, -1.0) * height / 2.0);
  vCorner = corners;
  vImageCoordinate = imageCoordinates;
  vColour = colours;
  DECKGL_FILTER_COLOR(vColour, geometry);
}
`;

const fs = `\
#version 300 es
#define SHADER_NAME mark-layer-fragment-shader
precision highp float;

uniform sampler2D icons;
in vec2 vCorner;
in vec2 vImageCoordinate;
in vec4 vColour;
out vec4 fragColor;

void main(void) {
  if (max(vCorner.x, vCorner.y) > 1.0) discard;
  fragColor = vec4(vColour.rgb, vColour.a * layer.opacity * texture(icons, vImageCoordinate).a);
  DECKGL_FILTER_COLOR(fragColor, geometry);
}
`;

/**
 * Vertex attribute with `size` components. Reads the props that deck.gl passes, not those of a layer instance, since
 * each render creates a new instance.
 */
const vertexAttribute = (size: number, of: (props: MarkLayerProps) => Float32Array | Uint8ClampedArray) => ({
  size,
  noAlloc: true,
  update: (attribute: { value: unknown }, { props }: { props: MarkLayerProps }) => {
    attribute.value = of(props);
  },
});

export class MarkLayer extends Layer<MarkLayerProps & LayerProps> {
  static override layerName = 'MarkLayer';
  static override defaultProps: DefaultProps<Pick<MarkLayerProps, 'image'>> = {
    image: { type: 'image', value: null, async: true },
  };
  declare state: { model?: Model };

  override getShaders() {
    return super.getShaders({ vs, fs, modules: [color, project32, markUniforms] });
  }

  override initializeState() {
    this.getAttributeManager()?.add({
      circles: vertexAttribute(3, ({ marks: { positions } }) =>
        atCorners(positions, 3, new Float32Array(positions.length * CORNERS)),
      ),
      corners: vertexAttribute(2, ({ marks }) => cornersOf(marks.shapes.length)),
      imageCoordinates: vertexAttribute(2, ({ marks, atlas }) => textureCoordinatesOf(marks.shapes, atlas)),
      colours: {
        ...vertexAttribute(4, ({ marks: { colours } }) =>
          atCorners(colours, 4, new Uint8ClampedArray(colours.length * CORNERS)),
        ),
        type: 'unorm8',
      },
    });
  }

  override updateState({ props, oldProps, changeFlags }: UpdateParameters<this>) {
    const manager = this.getAttributeManager();
    if (changeFlags.extensionsChanged) {
      this.state.model?.destroy();
      const model = new Model(this.context.device, {
        ...this.getShaders(),
        id: this.props.id,
        bufferLayout: manager?.getBufferLayouts() ?? [],
        topology: 'triangle-list',
        isInstanced: false,
      });
      this.setState({ model });
      manager?.invalidateAll();
    }
    const [now, before] = [props.marks, oldProps.marks];
    if (now === before) return;
    this.state.model?.setVertexCount(now.shapes.length * CORNERS);
    if (now.positions !== before?.positions) manager?.invalidate('circles');
    if (now.colours !== before?.colours) manager?.invalidate('colours');
    if (now.shapes !== before?.shapes) manager?.invalidate('imageCoordinates');
    if (now.shapes.length !== before?.shapes.length) manager?.invalidate('corners');
  }

  override draw() {
    const { image, scale, least } = this.props;
    const { model } = this.state;
    if (!image || !model) return;
    model.shaderInputs.setProps({ mark: { scale, least } });
    model.setBindings({ icons: image as Texture });
    model.draw(this.context.renderPass);
  }
}
